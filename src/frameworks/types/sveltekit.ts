/** Types `locals.session`, and whatever else `Register` names, for SvelteKit: `import 'holdfast/sveltekit/types'` in `src/app.d.ts`. */
import type { RegisteredSessions } from '../../register.ts'

declare global {
  namespace App {
    interface Locals extends RegisteredSessions {}
  }
}
