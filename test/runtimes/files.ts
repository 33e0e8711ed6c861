import type { Exception } from './run.ts'

/** The suites of the core, the web adapter, and the stores in memory and in Redis. */
export const files: Readonly<Record<string, () => Promise<unknown>>> = {
  'token.test.ts': () => import('../token.test.ts'),
  'cookie.test.ts': () => import('../cookie.test.ts'),
  'codec.test.ts': () => import('../codec.test.ts'),
  'options.test.ts': () => import('../options.test.ts'),
  'seal.test.ts': () => import('../seal.test.ts'),
  'merge.test.ts': () => import('../merge.test.ts'),
  'schema.test.ts': () => import('../schema.test.ts'),
  'record.test.ts': () => import('../record.test.ts'),
  'operations.test.ts': () => import('../operations.test.ts'),
  'session.test.ts': () => import('../session.test.ts'),
  'one-visit.test.ts': () => import('../one-visit.test.ts'),
  'lifetime.test.ts': () => import('../lifetime.test.ts'),
  'login.test.ts': () => import('../login.test.ts'),
  'flash.test.ts': () => import('../flash.test.ts'),
  'management.test.ts': () => import('../management.test.ts'),
  'nobody.test.ts': () => import('../nobody.test.ts'),
  'bad-input.test.ts': () => import('../bad-input.test.ts'),
  'frameworks/headers.test.ts': () => import('../frameworks/headers.test.ts'),
  'frameworks/behaviour.test.ts': () => import('../frameworks/behaviour.test.ts'),
  'stores.test.ts': () => import('../stores.test.ts'),
  'runtimes/redis-url.suite.ts': () => import('./redis-url.suite.ts'),
  'runtimes/redis-ioredis.suite.ts': () => import('./redis-ioredis.suite.ts'),
  'runtimes/redis-node-redis.suite.ts': () => import('./redis-node-redis.suite.ts'),
}

const MANY_COMMANDS =
  'node-redis leaves a timer with each command, of which workerd allows a request 10,000, and this test sends many'

/** By runtime, what cannot pass there. */
export const exceptions: Readonly<Record<string, readonly Exception[]>> = {
  node: [],
  bun: [],
  deno: [
    {
      test: 'management.test.ts > sweeping > by itself keeps no process alive',
      why: 'starts a program with `-e --input-type=module`, which Deno does not take',
    },
    {
      test: 'management.test.ts > sweeping > by hand keeps the process alive',
      why: 'starts a program with `-e --input-type=module`, which Deno does not take',
    },
  ],
  workerd: [
    {
      test: 'runtimes/redis-node-redis.suite.ts > redis, node-redis: the store contract > by user > lists page by page',
      why: MANY_COMMANDS,
      skip: true,
    },
    {
      test: 'runtimes/redis-node-redis.suite.ts > redis, node-redis: the store contract > by user > values are exact',
      why: MANY_COMMANDS,
      skip: true,
    },
    {
      test: 'runtimes/redis-node-redis.suite.ts > redis, node-redis: the store contract > by user > destroys more than',
      why: MANY_COMMANDS,
      skip: true,
    },
    {
      test: 'runtimes/redis-node-redis.suite.ts > redis, node-redis: the store contract > by external id > lists page by page',
      why: MANY_COMMANDS,
      skip: true,
    },
    {
      test: 'runtimes/redis-node-redis.suite.ts > redis, node-redis: the store contract > by external id > values are exact',
      why: MANY_COMMANDS,
      skip: true,
    },
    {
      test: 'runtimes/redis-node-redis.suite.ts > redis, node-redis: the store contract > by external id > destroys more than',
      why: MANY_COMMANDS,
      skip: true,
    },
    {
      test: 'runtimes/redis-node-redis.suite.ts > redis, node-redis: the store contract > scan > ',
      why: MANY_COMMANDS,
      skip: true,
    },
    {
      test: 'cookie.test.ts > the Cookie header > is read in linear time',
      why: 'measures time, which stands still there while code runs',
      skip: true,
    },
    {
      test: 'codec.test.ts > data > may be an object without a prototype, or of another realm',
      why: 'makes another realm with node:vm',
    },
    {
      test: 'management.test.ts > sweeping > by itself keeps no process alive',
      why: 'starts a process',
    },
    {
      test: 'management.test.ts > sweeping > by hand keeps the process alive',
      why: 'starts a process',
    },
    {
      test: 'management.test.ts > sweeping > holds up no request, also where a batch never waits',
      why: 'opens SQLite',
    },
    {
      test: 'bad-input.test.ts > a cookie > of any length up to 16 KiB is met',
      why: 'measures process.cpuUsage()',
    },
    {
      test: 'bad-input.test.ts > a cookie > among 10,000 pairs costs less',
      why: 'measures process.cpuUsage()',
    },
    {
      test: 'bad-input.test.ts > a record > of 1 MB is refused without being read',
      why: 'measures process.cpuUsage()',
    },
    {
      test: 'frameworks/behaviour.test.ts > on web > tells of a change that was made after the headers had left',
      why: 'the `uncommitted` event comes from a timer that outlives the request, and there none does',
    },
  ],
}
