import { type Command, DONE } from './command.ts'
import { countOf, printJson, printLine } from './output.ts'
import { JSON_HELP, managerOf, refusePositionals, SITE_OPTIONS, STORE_HELP, withSite } from './site.ts'

export const sweep: Command = {
  summary: 'removes expired sessions, once, for cron',
  options: { store: SITE_OPTIONS.store, json: SITE_OPTIONS.json },
  help: `Usage: holdfast sweep [options]

Removes what has expired (of all managers on the store) in small batches, with a rest after each, and prints how many records that were. A
running site does so by itself every ten minutes; this is for sites that run now and then, or with sweepEvery: false. Several may run at once.

  holdfast sweep --store postgres://db/app
  0 4 * * *  HOLDFAST_STORE=sqlite:/srv/app/sessions.db npx holdfast sweep     # in a crontab

Redis and Memcached expire by themselves: there is nothing to sweep.

Options:
${STORE_HELP}
${JSON_HELP}

JSON: { removed }

Exit codes: 0 done, 1 failed, 2 wrong usage.
`,

  async run(given) {
    refusePositionals(given)
    return withSite(given, async (site) => {
      const sessions = managerOf(site)
      const removed = await sessions.sweep().finally(() => sessions.close())
      if (given.values.json) printJson({ removed })
      else if (site.store.sweep)
        printLine(`${countOf(removed, 'expired record')} ${removed === 1 ? 'has' : 'have'} been removed.`)
      else printLine(`The ${site.store.name} store expires by itself: there is nothing to sweep.`)
      return DONE
    })
  },
}
