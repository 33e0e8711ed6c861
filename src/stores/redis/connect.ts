import { inTime, noAnswerWithin, patientFor } from '../in-time.ts'
import { adopt, type Commander } from './clients.ts'
import { CONNECT_TIMEOUT_MS, drive } from './drivers.ts'
import { parseUrl, type Target } from './url.ts'

/** How long to wait for an answer: beyond the deadlines of the core, so that those come first. */
const ANSWER_TIMEOUT_MS = 3_000

/** Connects when the first command is sent, and again after an attempt that failed or on a connection that has gone silent. */
export function connectLazily(url: string, longestWait = 0): Commander {
  const target = parseUrl(url)
  const answerTimeout = ANSWER_TIMEOUT_MS + longestWait
  let connected: Commander | undefined
  let connecting: Promise<Commander> | undefined
  /** More than one while one that has gone silent has commands under way. */
  const open = new Set<Connection>()
  let isClosed = false
  const isCluster = target.kind === 'cluster'

  const leavingIfSilent = (made: Connection): Commander => {
    const leave = async () => {
      // Of a Cluster only one node may be silent: it is left when there is another connection, and not before.
      if (isCluster && !isClosed) await connection()
      else connected = undefined
    }
    const end = () => {
      open.delete(made)
      return made.close()
    }
    return withAnswers(made.commander, patientFor(answerTimeout, leave, end))
  }
  const connection = (): Promise<Commander> => {
    connecting ??= connect(target, answerTimeout)
      .then(async (made) => {
        if (isClosed) await made.close()
        open.add(made)
        connected = made.waitsForEver ? leavingIfSilent(made) : made.commander
        return connected
      })
      .finally(() => {
        connecting = undefined
      })
    return connecting
  }

  return {
    isCluster,
    isPool: false,
    command: (args, key) =>
      connected ? connected.command(args, key) : connection().then((found) => found.command(args, key)),
    primaries: async () => (connected ?? (await connection())).primaries(),
    connections: () => connected?.connections?.() ?? [],
    async close() {
      isClosed = true
      // An attempt under way closes what it makes, and its failure is that of the operation which began it.
      await connecting?.catch(() => {})
      await Promise.all([...open].map((each) => each.close()))
    },
  }
}

/** The same, whose answers are what `wait` makes of them. */
function withAnswers(commander: Commander, wait: <T>(answer: Promise<T>) => Promise<T>): Commander {
  return {
    ...commander,
    command: (args, key) => wait(commander.command(args, key)),
    async primaries() {
      const primaries = await wait(commander.primaries())
      return primaries.map(({ address, command }) => ({
        address,
        command: (args) => wait(command(args)),
      }))
    },
  }
}

interface Connection {
  readonly commander: Commander
  /** For an answer that does not come. */
  readonly waitsForEver: boolean
  close(): Promise<void>
}

/** What drivers say when they have given up, for a reason that they have told before. */
const VAGUE =
  /^Connection is closed|max retries|no answer|offline|startup nodes|root nodes|slots cache|^All sentinels/i

async function connect(target: Target, answerTimeout: number): Promise<Connection> {
  const driven = await drive(target, answerTimeout)
  const { client } = driven
  // The drivers go on trying by themselves and tell of it here; what they then throw often says only that they gave up.
  let complaint: Error | undefined
  let complain: (error: Error) => void = () => {}
  const complained = new Promise<never>((_, reject) => {
    complain = reject
  })
  complained.catch(() => {})
  client.on('error', (error) => {
    complaint = error
    // A Sentinel or a Cluster has other nodes to try.
    if (target.kind === 'single') complain(error)
  })
  client.on('ready', () => {
    complaint = undefined
  })

  const commander = adopt(client)
  const ready = async () => {
    await driven.connect()
    // ioredis goes on in database 0 if the server has no such database.
    if (target.database > 0) await commander.command(['SELECT', String(target.database)], '')
  }
  const explain = (reason: unknown) => {
    if (!(reason instanceof Error) || !VAGUE.test(reason.message)) return reason
    const why = within(reason) ?? (complaint && (within(complaint) ?? complaint))
    return why && why !== reason ? new Error(why.message, { cause: reason }) : reason
  }
  const end = async () => {
    try {
      await driven.close()
    } catch {
      // What has not connected, or has given up, cannot be closed and need not be.
    }
  }
  try {
    await inTime(CONNECT_TIMEOUT_MS, Promise.race([ready(), complained]), () =>
      noAnswerWithin(CONNECT_TIMEOUT_MS),
    )
  } catch (error) {
    await end()
    throw explain(error)
  }
  return {
    commander: {
      ...commander,
      async command(args, key) {
        try {
          return await commander.command(args, key)
        } catch (error) {
          throw explain(error)
        }
      },
    },
    waitsForEver: driven.waitsForEver,
    close: end,
  }
}

/** What a driver gives as the reason of its own error, if anything. */
function within(error: Error): Error | undefined {
  const inner = 'lastNodeError' in error ? error.lastNodeError : error.cause
  return inner instanceof Error ? inner : undefined
}
