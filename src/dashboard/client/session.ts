import type { Overview, SessionDetail } from '../wire.ts'
import { confirmEnd } from './confirm.ts'
import { h, put } from './dom.ts'
import { bytes, count, device, moment, number } from './format.ts'
import { server } from './server.ts'
import type { View } from './view.ts'
import { hrefTo, linkTo } from './view.ts'

/** One session. */
export async function sessionView(overview: Overview, handle: string): Promise<View> {
  const session = await server.session(handle)
  const end = async () => {
    if (await confirmEnd(session))
      location.hash = session.userId === null ? hrefTo('sessions') : hrefTo('user', session.userId)
  }
  return {
    title: 'Session',
    element: h(
      'div',
      { class: 'view' },
      h(
        'div',
        { class: 'head' },
        h(
          'h1',
          { tabindex: -1 },
          session.userId === null ? 'Session of a visitor' : `Session of ${session.userId}`,
        ),
        h('button', { type: 'button', class: 'danger', onclick: end }, 'End this session …'),
      ),
      h('section', { class: 'panel' }, h('h2', {}, 'What is kept of it'), facts(session)),
      data(session, overview.mayReveal),
    ),
  }
}

function facts(session: SessionDetail): HTMLElement {
  const { handle, userId, authenticatedAt, expiresAt, level, generation, retiredBelow, persistent, about } =
    session
  const all: [string, (Node | string) | (Node | string)[] | null][] = [
    ['Handle', h('code', {}, handle)],
    ['User', userId === null ? 'not logged in' : linkTo('user', userId)],
    ['Device', device(about) || null],
    ['Created', moment(session.createdAt)],
    ['Logged in', authenticatedAt === null ? null : moment(authenticatedAt)],
    ['Last used', moment(session.lastSeenAt)],
    ['Expires', expiresAt === null ? 'never' : [moment(expiresAt), ', if it stays unused']],
    ['Level', level],
    ['External id', session.externalId],
    ['Token generation', [number(generation), ', since ', moment(session.rotatedAt)]],
    [
      'Dead generations',
      retiredBelow <= 1 ? 'none' : retiredBelow === 2 ? '1' : `1 to ${number(retiredBelow - 1)}`,
    ],
    ['Cookie', persistent ? 'stays when the browser closes' : 'until the browser closes'],
    ['Bound to its device', session.isBound ? 'yes' : 'no'],
    ['Size of its data', bytes(session.bytes)],
    ['Messages to show', session.messages === 0 ? null : number(session.messages)],
  ]
  return h(
    'dl',
    { class: 'facts' },
    ...all.flatMap(([name, value]) =>
      value === null ? [] : [h('div', {}, h('dt', {}, name), h('dd', {}, ...[value].flat()))],
    ),
  )
}

function data({ handle, bytes: size }: SessionDetail, mayReveal: boolean): HTMLElement {
  const body = h('div', {})
  const heading = h('h2', { id: 'data' }, 'Data')
  const show = async () => {
    try {
      const { data, messages } = await server.data(handle)
      const text = h(
        'pre',
        { tabindex: 0, 'aria-labelledby': 'data' },
        h('code', {}, JSON.stringify(data, null, 2)),
      )
      const list = h(
        'ul',
        {},
        ...messages.map(({ category, message }) => h('li', {}, h('b', {}, category), ` ${message}`)),
      )
      put(
        body,
        text,
        messages.length > 0 && h('h3', {}, count(messages.length, 'message')),
        messages.length > 0 && list,
      )
      text.focus()
    } catch (error) {
      put(body, h('p', { class: 'notice bad', role: 'alert' }, (error as Error).message))
    }
  }
  put(
    body,
    mayReveal
      ? h('p', {}, h('button', { type: 'button', onclick: show }, `Show its data, ${bytes(size)}`))
      : h(
          'p',
          { class: 'soft' },
          `${bytes(size)}, hidden: revealData does not let you read what visitors have left here.`,
        ),
  )
  return h('section', { class: 'panel' }, heading, body)
}
