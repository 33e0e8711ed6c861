/** What is wrong for sessions about a database and its table. Loaded when it is asked for: no request needs it. */
import type { Finding } from '../../store.ts'
import { clockFindings } from '../clock-finding.ts'
import { diskFindings } from '../disk-findings.ts'
import type { SqlExecutor } from './executor.ts'
import { faultsIn, MYSQL_KEYS, type TableSchema } from './schema.ts'

export interface Examined {
  readonly dialect: SqlExecutor['dialect']
  /** Whether its file, if it has one, is on this machine. */
  readonly inProcess: boolean
  readonly schema: TableSchema
  /** Of the server, in milliseconds since 1970, if it has one of its own. */
  readonly clock: string | undefined
  query(sql: string): Promise<readonly object[]>
}

const DAY_MS = 86_400_000
const HOUR_MS = 3_600_000
const MANY = 10_000
/** Of a record as large as the default of `maxBytes` allows there is room for several. */
const SMALLEST_PACKET = 256 * 1024

export async function findingsOf(examined: Examined, now: () => number): Promise<Finding[]> {
  const { clock, schema, query, dialect, inProcess } = examined
  const ask = async (sql: string) => (await query(sql)).map((row) => Object.values(row) as unknown[])
  const findings: Finding[] = []
  if (clock !== undefined) {
    await ask(clock) // connects, which takes its time
    findings.push(...(await clockFindings(dialect, now, async () => Number((await ask(clock))[0]![0]))))
  }
  if (dialect !== 'sqlite' || inProcess) findings.push(...(await OF_SERVER[dialect](ask)))
  const columns = await query(schema.listColumns)
  // The first operation makes it.
  if (columns.length === 0) return findings
  const faults = faultsIn(columns)
  if (faults.length > 0) return [...findings, wrongTable(examined, faults)]
  return [
    ...findings,
    ...(await checkIndexes(examined, ask)),
    ...(await OF_TABLE[dialect](ask, schema.name)),
    ...(await checkSweeping(examined, ask, now())),
  ]
}

type Ask = (sql: string) => Promise<unknown[][]>

const OF_SERVER: Record<SqlExecutor['dialect'], (ask: Ask) => Promise<Finding[]>> = {
  async sqlite(ask) {
    const [mode] = (await ask('SELECT journal_mode FROM pragma_journal_mode'))[0]!
    const [path] = (await ask("SELECT file FROM pragma_database_list WHERE name = 'main'"))[0]!
    const findings = path ? await diskFindings(String(path)) : []
    if (mode === 'wal' || mode === 'memory') return findings
    return [
      ...findings,
      {
        id: 'sqlite.not-wal',
        severity: 'warning',
        finding: `The journal mode of the database is ${mode}, so those who read wait for those who write, and the other way round.`,
        cure: 'Run PRAGMA journal_mode = WAL on it, and keep it on a local disk: network drives refuse that.',
      },
    ]
  },
  async postgres(ask) {
    const [encoding, readOnly] = (
      await ask(
        `SELECT current_setting('server_encoding') AS a, current_setting('transaction_read_only') AS b`,
      )
    )[0]!
    return [
      ...(encoding === 'UTF8'
        ? []
        : [
            finding(
              'postgres.encoding',
              'error',
              `The encoding of the database is ${encoding}, so sessions with other characters cannot be saved.`,
              'Create the database with ENCODING UTF8, and move the sessions there with holdfast migrate.',
            ),
          ]),
      ...(readOnly === 'on' ? [READ_ONLY] : []),
    ]
  },
  async mysql(ask) {
    const [row] = await ask(
      'SELECT @@max_allowed_packet AS a, @@innodb_flush_log_at_trx_commit AS b, @@read_only AS c',
    )
    const [packet, flush] = row!.map(Number) as [number, number]
    const readOnly = String(row![2]) // a word from MariaDB 12 on
    return [
      ...(packet >= SMALLEST_PACKET
        ? []
        : [
            finding(
              'mysql.small-packet',
              'error',
              `max_allowed_packet of the server is ${packet} bytes, and a larger session cannot be saved.`,
              `Set max_allowed_packet to ${SMALLEST_PACKET} or more (16M is the default).`,
            ),
          ]),
      ...(flush === 1
        ? []
        : [
            finding(
              'mysql.loses-seconds',
              'warning',
              `innodb_flush_log_at_trx_commit of the server is ${flush}, so a crash of its machine takes the last second with it: whoever logged out in it is logged in again.`,
              'Set innodb_flush_log_at_trx_commit = 1, the default.',
            ),
          ]),
      ...(readOnly === '0' || readOnly === 'OFF' ? [] : [READ_ONLY]),
    ]
  },
}

const READ_ONLY = finding(
  'sql.read-only',
  'error',
  'The server takes no writes, so nobody can log in or out.',
  'Name the primary, not a replica; or turn read_only, or default_transaction_read_only, off.',
)

const OF_TABLE: Record<SqlExecutor['dialect'], (ask: Ask, table: string) => Promise<Finding[]>> = {
  async sqlite() {
    return []
  },
  async postgres(ask, table) {
    const rights = ['SELECT', 'INSERT', 'UPDATE', 'DELETE']
    const has = rights.map((right, i) => `has_table_privilege('${table}', '${right}')::int AS r${i}`)
    const [granted] = await ask(`SELECT ${has.join(', ')}`)
    const missing = rights.filter((_, i) => Number(granted![i]) !== 1)
    if (missing.length === 0) return []
    return [
      finding(
        'sql.rights',
        'error',
        `This user has no right to ${missing.join(', ')} on ${table}, and sessions need all of ${rights.join(', ')}.`,
        `As the owner of the table: GRANT ${rights.join(', ')} ON ${table} TO the user of the site.`,
      ),
    ]
  },
  async mysql(ask, table) {
    const name = table.replaceAll('`', '')
    const [row] = await ask(
      `SELECT engine FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = '${name}'`,
    )
    const engine = String(row?.[0])
    if (/^InnoDB$/i.test(engine)) return []
    return [
      finding(
        'mysql.engine',
        'error',
        `The engine of the table ${table} is ${engine}, which locks the whole table for every write, and may lose sessions in a crash.`,
        `ALTER TABLE ${table} ENGINE = InnoDB ROW_FORMAT = DYNAMIC`,
      ),
    ]
  },
}

function wrongTable({ schema: { name: table } }: Examined, faults: readonly string[]): Finding {
  return finding(
    'sql.wrong-table',
    'error',
    `There is a table ${table} that was made for something else, or was changed (${faults.join('; ')}), so no session can be read or written.`,
    'Give the store another { table }, or rename or drop this one; or make it as `holdfast init --print` has it.',
  )
}

async function checkIndexes({ dialect, schema }: Examined, ask: Ask): Promise<Finding[]> {
  const table = schema.name
  const there = (await ask(schema.listIndexes)).map(([name]) => String(name))
  const made = dialect === 'mysql' ? addKeys(table) : schema.createIndexes
  const missing = Object.keys(made).filter((name) => !there.includes(name))
  if (missing.length === 0) return []
  return [
    finding(
      'sql.missing-index',
      'error',
      `The table ${table} has no index ${missing.join(', ')}: what looks there reads the whole table each time, or locks it.`,
      `Make it: ${missing.map((name) => `${made[name]};`).join(' ')}`,
    ),
  ]
}

/** There an index is made with its table. */
function addKeys(table: string): Readonly<Record<string, string>> {
  const keys = Object.entries(MYSQL_KEYS)
  return Object.fromEntries(
    keys.map(([name, columns]) => [name, `ALTER TABLE ${table} ADD KEY ${name} ${columns}`]),
  )
}

async function checkSweeping(
  { schema: { name: table } }: Examined,
  ask: Ask,
  now: number,
): Promise<Finding[]> {
  const dayAgo = Math.floor((now - DAY_MS) / HOUR_MS)
  const counted = `SELECT COUNT(*) AS n FROM (SELECT 1 AS one FROM ${table} WHERE expiry_hour < ${dayAgo} LIMIT ${MANY + 1}) AS expired`
  const [[count]] = (await ask(counted)) as [[unknown]]
  if (Number(count) <= MANY) return []
  return [
    finding(
      'sql.unswept',
      'warning',
      `More than ${MANY.toLocaleString('en')} sessions in ${table} expired over a day ago and are still there: nothing sweeps, and the table grows for ever.`,
      'Run `holdfast sweep` from cron, or leave sweepEvery at its default where the site runs all the time.',
    ),
  ]
}

function finding(id: string, severity: Finding['severity'], finding: string, cure: string): Finding {
  return { id, severity, finding, cure }
}
