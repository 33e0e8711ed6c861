import type { Count, Share } from '../census.ts'
import type { Counted } from '../series.ts'
import type { Notice } from '../watch.ts'
import type { Overview } from '../wire.ts'
import { chart } from './charts.ts'
import { h, put, say } from './dom.ts'
import { bytes, count, milliseconds, moment, number, short, timeOfDay } from './format.ts'
import type { View } from './view.ts'
import { linkTo, table } from './view.ts'

/** Everything at a glance. It stays on the page and is told what is new. */
export function overviewView(choose: (range: string) => void): View & { show(overview: Overview): void } {
  const figures = {
    live: figure('Live sessions'),
    loggedIn: figure('Logged in'),
    data: figure('Data kept'),
    logins: figure('Logins'),
    errors: figure('Errors'),
    latency: figure('Store latency'),
  }
  const live = chart('Live sessions', [{ name: 'counted', color: '--line-1' }], number, lastOf(number))
  const logins = chart(
    'Logins and logouts',
    [
      { name: 'logins', color: '--line-1' },
      { name: 'logouts', color: '--line-2', isDashed: true },
      { name: 'ended otherwise', color: '--line-4' },
    ],
    number,
    totalOf,
  )
  const troubles = chart(
    'Conflicts and errors',
    [
      { name: 'errors', color: '--line-3' },
      { name: 'conflicts', color: '--line-2', isDashed: true },
    ],
    number,
    totalOf,
  )
  const latency = chart(
    'Store latency',
    [
      { name: 'median', color: '--line-1' },
      { name: '95th percentile', color: '--line-2', isDashed: true },
    ],
    milliseconds,
    lastOf(milliseconds),
  )
  const state = h('div', { class: 'state' })
  const since = h('p', { class: 'soft' })
  const counting = h('p', { class: 'soft', 'aria-live': 'off' })
  const numbers = h('div', {
    class: 'scroll',
    tabindex: 0,
    role: 'region',
    'aria-label': 'The curves as a table',
  })
  const stores = panel('By store')
  const devices = panel('By device')
  const users = panel('By user')
  const notices = panel('Lately')
  const details = h('details', { class: 'panel' }, h('summary', {}, 'The curves as a table'), numbers)
  let known = ''

  const range = (value: string, text: string, isChosen = false) =>
    h(
      'label',
      {},
      h('input', { type: 'radio', name: 'range', value, checked: isChosen, onchange: () => choose(value) }),
      h('span', {}, text),
    )

  const element = h(
    'div',
    { class: 'view' },
    h(
      'div',
      { class: 'head' },
      h('div', {}, h('h1', { tabindex: -1 }, 'Overview'), since),
      h(
        'fieldset',
        { class: 'choice' },
        h('legend', { class: 'aside' }, 'Time shown'),
        range('hour', 'Last hour', true),
        range('day', 'Last 24 hours'),
      ),
    ),
    state,
    h('dl', { class: 'figures' }, ...Object.values(figures).map(({ element }) => element)),
    counting,
    h('div', { class: 'charts' }, live.element, logins.element, troubles.element, latency.element),
    details,
    h('div', { class: 'panels' }, stores.element, devices.element, users.element),
    notices.element,
  )

  return {
    title: 'Overview',
    element,
    show(overview) {
      const { curves, count: last, progress } = overview
      const of = (what: Counted) => curves.counts[what]
      const times = curves.p50.map((_, i) => (curves.start + i * curves.step) / 1000)
      const words = curves.step < 60_000 ? 'the last hour' : 'the last 24 hours'

      say(
        since,
        `Manager “${overview.name}” in the ${overview.store} store. The curves are of this server process alone, since ${timeOfDay(overview.since)}.`,
      )
      const counted = last ?? progress
      figures.live.set(
        counted && number(counted.sessions),
        last ? '' : counted ? 'so far' : reasonOf(overview),
      )
      figures.loggedIn.set(
        counted && number(counted.loggedIn),
        counted ? shareOf(counted.loggedIn, counted.sessions) : '',
      )
      figures.data.set(
        counted && bytes(counted.bytes),
        counted && counted.sessions > 0 ? `${bytes(Math.round(counted.bytes / counted.sessions))} each` : '',
      )
      figures.logins.set(totalOf(of('login')), `in ${words}`)
      figures.errors.set(totalOf(of('error')), `in ${words}`, sumOf(of('error')) > 0)
      figures.latency.set(lastOf(milliseconds)(curves.p95), '95th percentile, lately')

      live.show(times, [curves.live])
      const each = curves.step < 60_000 ? `${curves.step / 1_000} s` : `${curves.step / 60_000} min`
      logins.show(times, [of('login'), of('logout'), of('ended')], each)
      troubles.show(times, [of('error'), of('conflict')], each)
      latency.show(times, [curves.p50, curves.p95])
      if (details.open) put(numbers, curvesTable(overview))

      say(counting, countingOf(overview))
      // Only what has changed is made anew, so that the focus stays where it is.
      const now = JSON.stringify([
        overview.managers,
        counted,
        overview.notices,
        overview.outageSince,
        overview.problem,
      ])
      if (now === known) return
      known = now
      put(state, ...warningsOf(overview))
      stores.set(
        shares(
          'Store',
          overview.managers.map(({ name, store, sessions }) => ({ name: `${store} (${name})`, sessions })),
          'No store.',
        ),
      )
      devices.set(
        counted
          ? shares(
              'Device',
              [
                ...counted.devices,
                ...(counted.undescribed > 0
                  ? [{ name: 'not described', sessions: counted.undescribed }]
                  : []),
              ],
              'Nobody is logged in.',
            )
          : h('p', { class: 'soft' }, reasonOf(overview)),
      )
      users.set(
        counted
          ? shares('User', counted.users, 'Nobody is logged in.', (name) => linkTo('user', name))
          : h('p', { class: 'soft' }, reasonOf(overview)),
      )
      notices.set(noticesTable(overview.notices))
    },
  }
}

function figure(name: string) {
  const value = h('dd', {}, '–')
  const note = h('dd', { class: 'note' })
  return {
    element: h('div', {}, h('dt', {}, name), value, note),
    set(text: string | null | undefined, more: string, isBad = false) {
      say(value, text ?? '–')
      say(note, more)
      value.classList.toggle('bad', isBad)
    },
  }
}

function panel(title: string) {
  const body = h('div')
  return {
    element: h('section', { class: 'panel' }, h('h2', {}, title), body),
    set: (content: HTMLElement) => put(body, content),
  }
}

type Uncounted = Omit<Share, 'sessions'> & { readonly sessions: number | null }

function shares(
  head: string,
  all: readonly Uncounted[],
  none: string,
  link?: (name: string) => HTMLElement,
): HTMLElement {
  if (all.length === 0) return h('p', { class: 'soft' }, none)
  const most = Math.max(1, ...all.map(({ sessions }) => sessions ?? 0))
  return table(
    '',
    [head, 'Sessions'],
    all.map(({ name, sessions }) => {
      const bar = h('i', { class: 'share', 'aria-hidden': 'true' })
      bar.style.inlineSize = `${(100 * (sessions ?? 0)) / most}%`
      return [
        h('div', { class: 'shared' }, link?.(name) ?? h('span', { class: 'name' }, name), bar),
        sessions === null ? 'not counted' : number(sessions),
      ]
    }),
  )
}

function noticesTable(all: readonly Notice[]): HTMLElement {
  if (all.length === 0) return h('p', { class: 'soft' }, 'Nothing that needs a look.')
  return table(
    '',
    ['When', 'What', 'Of', 'More'],
    all.map(({ at, name, handle, userId, text }) => [
      moment(at),
      h('span', { class: SEVERE.has(name) ? 'tag bad' : 'tag' }, WORDS[name] ?? name),
      userId ? linkTo('user', userId) : handle ? linkTo('session', handle, short(handle)) : '',
      h('span', { class: 'long' }, text ?? ''),
    ]),
  )
}

const SEVERE = new Set<string>(['outage', 'error', 'reuse', 'invalid'])
const WORDS: Partial<Record<Notice['name'], string>> = {
  clientChanged: 'another client',
  refused: 'login refused',
  reuse: 'token reused',
  forged: 'forged cookie',
  duplicate: 'two cookies',
  unproven: 'device not proven',
  refusedProof: 'proof refused',
  invalid: 'unreadable',
  uncommitted: 'not saved',
  outage: 'store away',
  recovered: 'store back',
}

/** Twelve rows, however fine the curves are. */
function curvesTable({ curves }: Overview): HTMLElement {
  const length = curves.p50.length
  const each = Math.max(1, Math.ceil(length / 12))
  const rows = Array.from({ length: Math.ceil(length / each) }, (_, i) => {
    const part = <T>(values: readonly T[]) => values.slice(i * each, (i + 1) * each)
    const sum = (what: Counted) => number(sumOf(part(curves.counts[what])))
    return [
      timeOfDay(curves.start + i * each * curves.step),
      lastOf(number)(part(curves.live)),
      sum('login'),
      sum('logout'),
      sum('ended'),
      sum('conflict'),
      sum('error'),
      lastOf(milliseconds)(part(curves.p50)),
      highest(part(curves.p95)),
    ]
  })
  return table(
    '',
    ['From', 'Live', 'Logins', 'Logouts', 'Ended', 'Conflicts', 'Errors', 'Median', '95th percentile'],
    rows,
  )
}

function warningsOf({ outageSince, problem, progress, canList }: Overview): HTMLElement[] {
  const warn = (...text: (string | HTMLElement)[]) => h('p', { class: 'notice bad', role: 'alert' }, ...text)
  return [
    ...(outageSince === null
      ? []
      : [warn('The store has not answered since ', moment(outageSince), '. Requests that need it fail.')]),
    ...(problem === null || progress || !canList ? [] : [warn(`Sessions could not be counted: ${problem}`)]),
  ]
}

function countingOf({ count: last, progress, canList, store, isCarried }: Overview): string {
  if (isCarried) return 'Sessions are kept by their browsers, so that they cannot be counted or listed.'
  if (!canList)
    return `The ${store} store cannot go through its sessions, so that they cannot be counted or listed.`
  if (progress) return `Counting: ${count(progress.sessions)} so far …`
  if (!last) return ''
  const left = last.unreadable > 0 ? ` ${count(last.unreadable, 'record')} could not be read.` : ''
  return `Counted at ${timeOfDay(last.startedAt)}, in ${milliseconds(last.milliseconds)}${last.isPart ? ', as many as there was time for' : ''}.${left}`
}

const reasonOf = ({ canList }: Overview) => (canList ? 'being counted' : 'cannot be counted in this store')

const sumOf = (values: readonly (number | null)[]) =>
  values.reduce<number>((sum, value) => sum + (value ?? 0), 0)

const totalOf = (values: readonly (number | null)[]) => number(sumOf(values))

function lastOf(format: (value: number) => string) {
  return (values: readonly (number | null)[]) => {
    const last = values.findLast((value) => value !== null)
    return typeof last === 'number' ? format(last) : '–'
  }
}

function highest(values: readonly (number | null)[]): string {
  const known = values.filter((value) => value !== null)
  return known.length === 0 ? '–' : milliseconds(Math.max(...known))
}

const shareOf = (part: Count['loggedIn'], all: number) =>
  all === 0 ? '' : `${Math.round((100 * part) / all)}% of them`
