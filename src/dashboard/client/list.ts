import type { Overview, SessionList, SessionRow } from '../wire.ts'
import { confirmEnd, confirmRevoke } from './confirm.ts'
import { h, put } from './dom.ts'
import { bytes, count, device, moment, short } from './format.ts'
import { server } from './server.ts'
import type { View } from './view.ts'
import { linkTo, table } from './view.ts'

/** All sessions, or those of a user, a page at a time: however many there are, the page holds a hundred. */
export async function listView(overview: Overview, user?: string): Promise<View> {
  const title = user === undefined ? 'Sessions' : `Sessions of ${user}`
  const heading = h('h1', { tabindex: -1 }, title)
  const isPossible = user === undefined ? overview.canList : overview.canFindUsers
  if (!isPossible) return { title, element: h('div', { class: 'view' }, heading, cannot(overview, user)) }

  /** Where each page started that has been seen, to go back. */
  const starts: (string | undefined)[] = [undefined]
  const body = h('div', { class: 'panel list' })
  const place = h('p', { class: 'soft place', role: 'status' })
  const back = h('button', { type: 'button', onclick: () => go(-1) }, 'Previous')
  const on = h('button', { type: 'button', onclick: () => go(+1) }, 'Next')
  const everyone = h(
    'button',
    { type: 'button', class: 'danger', onclick: end },
    user === undefined ? 'End everyone’s sessions …' : 'End all of them …',
  )
  let next: string | undefined

  async function show(): Promise<void> {
    body.setAttribute('aria-busy', 'true')
    try {
      const list = await server.sessions({ user, cursor: starts.at(-1) })
      next = list.cursor ?? undefined
      put(body, rows(list, user, again))
      place.textContent = placeOf(list, starts.length, next)
    } catch (error) {
      next = undefined
      put(body, h('p', { class: 'notice bad', role: 'alert' }, (error as Error).message))
      place.textContent = ''
    }
    body.removeAttribute('aria-busy')
    // Not `disabled`, which would take the focus from whoever goes through pages by keyboard.
    for (const [button, isOver] of [
      [back, starts.length === 1],
      [on, next === undefined],
    ] as const)
      button.setAttribute('aria-disabled', String(isOver))
  }

  async function go(step: number): Promise<void> {
    if ((step < 0 ? back : on).getAttribute('aria-disabled') === 'true' || body.hasAttribute('aria-busy'))
      return
    if (step < 0) starts.pop()
    else starts.push(next)
    await show()
    body.scrollTo({ top: 0 })
    if (body.getBoundingClientRect().top < 0) heading.scrollIntoView()
  }

  async function again(): Promise<void> {
    await show()
    heading.focus({ preventScroll: true })
  }

  async function end(): Promise<void> {
    const isDone = await confirmRevoke(
      user === undefined
        ? {
            title: 'End everyone’s sessions?',
            text: 'Everybody is signed out, you too, and whatever visitors have left in their sessions is gone. This cannot be undone.',
            button: 'End everyone’s',
            target: { all: 'everyone' },
            word: 'everyone',
          }
        : {
            title: `End all sessions of ${user}?`,
            text: 'This user is signed out on every device. This cannot be undone.',
            button: 'End all of them',
            target: { user },
          },
    )
    if (!isDone) return
    starts.splice(1)
    await again()
  }

  await show()
  return {
    title,
    element: h(
      'div',
      { class: 'view' },
      h('div', { class: 'head' }, heading, everyone),
      body,
      h('nav', { class: 'pager', 'aria-label': 'Pages' }, back, on, place),
    ),
  }
}

const KINDS = ['', 'wide', '', 'wide', 'wide', 'wide number', 'act']

function rows({ sessions }: SessionList, user: string | undefined, again: () => Promise<void>): HTMLElement {
  if (sessions.length === 0) {
    return h(
      'p',
      { class: 'empty' },
      user === undefined
        ? 'No live sessions here.'
        : `“${user}” has no live sessions. The id must be exactly as the site knows it.`,
    )
  }
  return table(
    'Live sessions',
    [user === undefined ? 'User' : 'Handle', 'Device', 'Last used', 'Began', 'Expires', 'Data', 'End it'],
    sessions.map((row) => [
      whose(row, user),
      device(row.about) || '–',
      moment(row.lastSeenAt),
      moment(row.authenticatedAt ?? row.createdAt),
      row.expiresAt === null ? 'never' : moment(row.expiresAt),
      bytes(row.bytes),
      h(
        'button',
        {
          type: 'button',
          class: 'small',
          'aria-label': `End session ${short(row.handle)} of ${row.userId ?? 'a visitor'}`,
          onclick: () => endOne(row, again),
        },
        'End …',
      ),
    ]),
    KINDS,
  )
}

function whose({ handle, userId }: SessionRow, user: string | undefined): HTMLElement {
  const session = linkTo('session', handle, short(handle))
  if (user !== undefined) return session
  const name = userId === null ? h('span', { class: 'soft' }, 'not logged in') : linkTo('user', userId)
  return h('div', { class: 'whose' }, name, session)
}

async function endOne(row: SessionRow, again: () => Promise<void>): Promise<void> {
  if (await confirmEnd(row)) await again()
}

function placeOf({ sessions, unreadable }: SessionList, page: number, next: string | undefined): string {
  const left = unreadable > 0 ? ` ${count(unreadable, 'record')} could not be read.` : ''
  return `Page ${page}, ${count(sessions.length)}${next === undefined ? ', the last' : ''}, in the store’s order.${left}`
}

function cannot({ store, isCarried, canFindUsers }: Overview, user: string | undefined): HTMLElement {
  const text = isCarried
    ? 'Sessions are kept by their browsers here, so that there is nothing to list.'
    : user === undefined
      ? `The ${store} store cannot list its sessions. One can be found by its handle${canFindUsers ? ', or those of a user by the id' : ''}: the field above.`
      : `The ${store} store cannot find sessions by user. One can be found by its handle.`
  return h('p', { class: 'notice' }, text)
}
