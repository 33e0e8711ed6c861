/** The application in a process of its own, which tells its URL: `tsx server.ts express`. */
import type { INestApplication } from '@nestjs/common'
import { HttpAdapterHost, NestFactory } from '@nestjs/core'
import { ExpressAdapter } from '@nestjs/platform-express'
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify'
import type { Sessions } from 'holdfast'
import { expressSessions } from 'holdfast/express'
import { fastifySessions } from 'holdfast/fastify'
import { AppModule, SESSIONS, type Visitor } from './app.ts'
import { StoreIsAway } from './store-is-away.ts'

async function onExpress(): Promise<INestApplication> {
  const app = await NestFactory.create(AppModule, new ExpressAdapter(), { logger: ['error'] })
  app.use(expressSessions<Visitor>(app.get(SESSIONS)))
  return app
}

async function onFastify(): Promise<INestApplication> {
  const app = await NestFactory.create<NestFastifyApplication>(AppModule, new FastifyAdapter(), {
    logger: ['error'],
  })
  await app.register(fastifySessions, { sessions: app.get<Sessions<Visitor>>(SESSIONS) })
  return app
}

const app = await (process.argv[2] === 'fastify' ? onFastify() : onExpress())
app.useGlobalFilters(new StoreIsAway(app.get(HttpAdapterHost).httpAdapter))
app.enableShutdownHooks()
await app.listen(0, '127.0.0.1')
process.send!(await app.getUrl())
process.on('disconnect', () => process.exit())
