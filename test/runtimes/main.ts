/** Runs the suites on Node, Bun and Deno: `main.mjs bun codec` those whose names hold `codec`. The last line that it prints is the outcome. */
import { exceptions, files } from './files.ts'
import { runTests } from './run.ts'

const [, , runtime, only = ''] = process.argv
const chosen = Object.fromEntries(Object.entries(files).filter(([name]) => name.includes(only)))
const known = exceptions[runtime!]!
console.log(`\n${JSON.stringify({ ...(await runTests(chosen, known)), exceptions: known })}`)
process.exit()
