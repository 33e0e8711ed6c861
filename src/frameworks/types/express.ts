/** Types `req.session`, and whatever else `Register` names, for Express: `import 'holdfast/express/types'`. */
import type { RegisteredSessions } from '../../register.ts'

declare global {
  namespace Express {
    interface Request extends RegisteredSessions {}
  }
}
