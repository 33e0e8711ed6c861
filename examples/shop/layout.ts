import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { FlashMessage } from 'holdfast'
import { icon } from './flags.ts'
import { type Html, html } from './html.ts'
import { ADMIN, DASHBOARD, type User } from './users.ts'

export interface Page {
  readonly title: string
  /** Where the page lives, to mark it in the navigation. */
  readonly path?: string
  readonly main: Html
}

/** What every page shows of the visitor. */
export interface Greeting {
  readonly user: User | undefined
  readonly inCart: number
  readonly flashes: readonly FlashMessage[]
}

export const styles = readFileSync(new URL('./styles.css', import.meta.url), 'utf8')
/** Changes with the styles, so that browsers may keep them for good. */
const STYLES_URL = `/styles.css?v=${createHash('sha256').update(styles).digest('hex').slice(0, 8)}`

/** A whole page. Without a greeting, for answers that must not need a session, it greets nobody. */
export function layout({ title, path, main }: Page, greeting?: Greeting): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title} · Holdfast Tea</title>
<link rel="icon" href="${icon}">
<link rel="stylesheet" href="${STYLES_URL}">
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header class="masthead">
  <a class="brand" href="/"><b>Holdfast</b> <span>Tea merchants on the Old Quay</span></a>
  <nav aria-label="Main">
    ${link('/', 'Teas', path)}
    ${link('/cart', html`Basket${greeting && html` <span class="count">${greeting.inCart}<span class="aside"> teas</span></span>`}`, path)}
    ${link('/devices', 'Devices', path)}
    ${link('/kept', 'What we keep', path)}
    ${greeting?.user === ADMIN && link(DASHBOARD, 'Dashboard', path)}
  </nav>
  ${greeting && account(greeting.user, path)}
</header>
<main id="main" tabindex="-1">
${greeting?.flashes.map(({ category, message }) => html`<p class="flash ${category}" role="status">${message}</p>`)}
${main}
</main>
<footer>
  <p>No script runs on these pages, and nothing is sold on them. They show <b>Holdfast</b>, sessions for TypeScript servers, at work: what you see of yourself here is kept on the server, under a cookie that only your browser has.</p>
</footer>
</body>
</html>
`.toString()
}

function link(href: string, text: Html | string, current: string | undefined): Html {
  return html`<a href="${href}"${href === current && html` aria-current="page"`}>${text}</a>`
}

function account(user: User | undefined, path: string | undefined): Html {
  if (!user) return html`<div class="account">${link('/login', 'Sign in', path)}</div>`
  return html`<form class="account" method="post" action="/logout"><span>${user.name}</span> <button class="plain">Sign out</button></form>`
}
