import { h } from './dom.ts'

/** What `main` shows. */
export interface View {
  readonly title: string
  readonly element: HTMLElement
}

export type Route = 'sessions' | 'session' | 'user'

export function hrefTo(route: Route, name?: string): string {
  return name === undefined ? `#/${route}` : `#/${route}/${encodeURIComponent(name)}`
}

export function linkTo(route: Route, name: string, text = name): HTMLAnchorElement {
  return h('a', { href: hrefTo(route, name), class: route === 'session' ? 'code' : undefined }, text)
}

type Cell = Node | string | number

/** The first column names the row. `kinds` are classes of columns. */
export function table(
  caption: string,
  head: readonly string[],
  rows: readonly (readonly Cell[])[],
  kinds: readonly string[] = [],
): HTMLTableElement {
  const kind = (i: number) => ({ class: kinds[i] || undefined })
  return h(
    'table',
    {},
    caption !== '' && h('caption', { class: 'aside' }, caption),
    h('thead', {}, h('tr', {}, ...head.map((name, i) => h('th', { scope: 'col', ...kind(i) }, name)))),
    h(
      'tbody',
      {},
      ...rows.map((row) =>
        h(
          'tr',
          {},
          ...row.map((cell, i) =>
            i === 0 ? h('th', { scope: 'row', ...kind(i) }, cell) : h('td', kind(i), cell),
          ),
        ),
      ),
    ),
  )
}

export function failureView(title: string, message: string): View {
  return {
    title,
    element: h(
      'div',
      { class: 'view' },
      h('h1', { tabindex: -1 }, title),
      h('p', { class: 'notice bad', role: 'alert' }, message),
      h('p', {}, h('button', { type: 'button', onclick: () => location.reload() }, 'Try again')),
    ),
  }
}
