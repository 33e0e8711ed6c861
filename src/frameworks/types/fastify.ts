/** Types `request.session`, and whatever else `Register` names, for Fastify: `import 'holdfast/fastify/types'`. */
import type {} from 'fastify'
import type { RegisteredSessions } from '../../register.ts'

declare module 'fastify' {
  interface FastifyRequest extends RegisteredSessions {}
}
