import { readFileSync } from 'node:fs'
import { answer, takes } from './answers.ts'

/** What `npm run build` has made of `client/`: the page, its script and its style, each also compressed. */
export interface Files {
  /** By its path below the dashboard; the page is the empty one. */
  get(path: string, accepted: string): Response | undefined
}

/** As the build lists them. */
interface Listed {
  readonly path: string
  readonly type: string
  /** Its name changes with its content. */
  readonly isNamedByContent: boolean
}

/** Beside this file in the package. The sources have them where the build puts them. */
const FOLDER = new URL(
  import.meta.url.endsWith('.ts') ? '../../dist/dashboard/static/' : './static/',
  import.meta.url,
)

/** @throws Error if they have not been built */
export function loadFiles(): Files {
  const read = (name: string) => new Uint8Array(readFileSync(new URL(name, FOLDER)))
  let listed: readonly Listed[]
  try {
    listed = JSON.parse(readFileSync(new URL('files.json', FOLDER), 'utf8'))
  } catch (cause) {
    throw new Error(
      `dashboard: its page is not in ${FOLDER.pathname}: ${(cause as Error).message}. In a clone, npm run build makes it; if a bundler packs your server, leave holdfast out of the bundle.`,
      { cause },
    )
  }
  const files = new Map(
    listed.map(({ path, type, isNamedByContent }) => [
      path === 'index.html' ? '' : path,
      { type, isNamedByContent, plain: read(path), br: read(`${path}.br`), gzip: read(`${path}.gz`) },
    ]),
  )
  return {
    get(path, accepted) {
      const file = files.get(path)
      if (!file) return undefined
      const encoding = (['br', 'gzip'] as const).find((one) => takes(one, accepted))
      return answer(200, file[encoding ?? 'plain'], {
        'Content-Type': file.type,
        Vary: 'Accept-Encoding',
        ...(encoding && { 'Content-Encoding': encoding }),
        ...(file.isNamedByContent && { 'Cache-Control': 'private, max-age=31536000, immutable' }),
      })
    },
  }
}
