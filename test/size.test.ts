import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import type { Rollup } from 'vite'
import { build } from 'vite'
import { expect, it } from 'vitest'

/** Small is a feature. Raise the budget only for what an application would miss. */
const BUDGET = {
  // 850 of it are src/channels.ts and the places that use it: who runs a site must see what sessions cost, and nothing outside can see a conflict.
  // 300 decide writes whose answers were lost, whoever finds them. 250 tell of mistakes: a change after the answer, a lifetime that cannot be.
  index: 33_500,
  // 200 refuse to serve a request from another library's session, or another manager's.
  'frameworks/express': 3_550,
  'frameworks/web': 1_500,
  'frameworks/next': 3_200,
  'frameworks/passport': 2_000,
  'frameworks/sveltekit': 2_000,
  'stores/sql/index': 11_500,
  'stores/redis/index': 11_100,
  'stores/memcached/index': 8_000,
  'stores/layered': 3_000,
  // 300 of it keep a move from ending everybody's session where the two URLs are of one store.
  'stores/index': 37_200,
  'stores/cookie': 1_500,
  // Four fifths of it are parts of the core, which are loaded anyway.
  'dbsc/index': 16_700,
  // On the server. What goes to the browser is measured there: test/browser/dashboard.test.ts.
  'dashboard/index': 7_900,
  'otel/index': 3_050,
  log: 1_000,
}

it.each(Object.entries(BUDGET))(
  '%s stays within its budget, minified and compressed',
  async (entry, budget) => {
    const result = (await build({
      configFile: false,
      logLevel: 'silent',
      build: {
        write: false,
        minify: true,
        ssr: fileURLToPath(new URL(`../src/${entry}.ts`, import.meta.url)),
        rolldownOptions: { external: ['ms', 'devalue', /^node:/] },
      },
    })) as Rollup.RollupOutput
    // What only `check()` imports, when it is asked, is loaded with no application.
    const chunks = result.output.filter((chunk) => chunk.type === 'chunk')
    const code = chunks.map((chunk) => (chunk.isDynamicEntry ? '' : chunk.code)).join('')
    const size = gzipSync(code).length
    expect(code).toContain('export')
    console.log(`${entry}: ${size} bytes of ${budget}`)
    expect(size).toBeLessThanOrEqual(budget)
  },
)
