import type { Session, SessionInfo } from 'holdfast'
import { band, soundings } from './chart.ts'
import { flag, hoist } from './flags.ts'
import { type Html, html } from './html.ts'
import type { Page } from './layout.ts'
import { type CartLine, type Product, products, totalOf } from './products.ts'
import type { Visitor } from './sessions.ts'
import { demoLogins } from './users.ts'

export function shopPage({ visits = 0, cart = {} }: Visitor): Page {
  return {
    title: 'Eight teas, one hoist',
    path: '/',
    main: html`
<section class="chart" aria-labelledby="welcome">
  ${soundings}
  ${hoist('HOLDFAST')}
  <h1 id="welcome">Eight teas,<br>one hoist</h1>
  <p class="lead">Each tin flies a letter of the house. Take the one whose weather you like.</p>
  <p class="log"><span>Harbour log</span> ${visits === 1 ? 'You open this page for the first time.' : html`You have opened this page <b>${visits}</b> times.`}</p>
</section>
<section aria-labelledby="teas">
  <h2 id="teas">On the shelf</h2>
  <ul class="teas" role="list">${products.map((product) => tea(product, cart[product.sku] ?? 0))}</ul>
</section>`,
  }
}

function tea(product: Product, inCart: number): Html {
  const { sku, name, kind, notes, pence } = product
  return html`
<li class="tea" id="${sku}">
  ${flag(product.flag)}
  <h3>${name}</h3>
  <p class="kind">${kind}</p>
  <p class="notes">${notes}</p>
  <p class="price">${money(pence)} <small>100 g</small></p>
  <form method="post" action="/cart/add">
    <input type="hidden" name="sku" value="${sku}">
    <button>Add<span class="aside"> ${name}</span> to basket</button>
    ${inCart > 0 && html`<small>${inCart} in it</small>`}
  </form>
</li>`
}

export function cartPage(lines: readonly CartLine[]): Page {
  return { title: 'Basket', path: '/cart', main: lines.length === 0 ? emptyCart : fullCart(lines) }
}

const emptyCart = html`
${band('Basket', 'Nothing in it yet.')}
<p><a class="button" href="/">See the teas</a></p>`

function fullCart(lines: readonly CartLine[]): Html {
  return html`
${band('Basket')}
<ul class="rows" role="list">${lines.map(cartRow)}</ul>
<div class="total">
  <p>Total <b>${money(totalOf(lines))}</b></p>
  <form method="post" action="/order"><button>Place the order</button></form>
</div>`
}

function cartRow({ product: { sku, name, pence, flag: letter }, quantity }: CartLine): Html {
  return html`
<li class="row">
  ${flag(letter)}
  <div>
    <h2>${name}</h2>
    <p>${money(pence)} for 100 g</p>
  </div>
  <form class="stepper" method="post" action="/cart/change">
    <input type="hidden" name="sku" value="${sku}">
    <button class="plain" name="change" value="fewer" aria-label="One ${name} fewer">−</button>
    <output>${quantity}<span class="aside"> in the basket</span></output>
    <button class="plain" name="change" value="more" aria-label="One ${name} more">+</button>
  </form>
  <p class="sum">${money(pence * quantity)}</p>
</li>`
}

/** `failed` is the name with which a login has just failed. */
export function loginPage(failed?: string): Page {
  const isWrong = failed !== undefined
  const wrong = isWrong && html` aria-invalid="true" aria-describedby="wrong"`
  return {
    title: 'Sign in',
    path: '/login',
    main: html`
${band('Sign in', 'What is in your basket comes along.')}
<div class="narrow">
  ${isWrong && html`<p class="flash bad" id="wrong" role="alert">That name and password do not belong together.</p>`}
  <form class="fields" method="post" action="/login">
    <label for="name">Name</label>
    <input id="name" name="name" value="${failed}" autocomplete="username" autocapitalize="none" spellcheck="false" maxlength="100" required${wrong}>
    <label for="password">Password</label>
    <input id="password" name="password" type="password" autocomplete="current-password" maxlength="200" required${wrong}>
    <label class="check"><input type="checkbox" name="remember" value="yes"> <span>Remember me on this device for a month</span></label>
    <button>Sign in</button>
  </form>
  <section class="note" aria-labelledby="demo">
    <h2 id="demo">To try it out</h2>
    <dl>${demoLogins.map(({ name, password }) => html`<div class="note-line"><dt>${name}</dt> <dd><code>${password}</code></dd></div>`)}</dl>
  </section>
</div>`,
  }
}

export function devicesPage(devices: readonly SessionInfo[], here: string): Page {
  const others = devices.length - 1
  return {
    title: 'Devices',
    path: '/devices',
    main: html`
${band('Devices', others > 0 ? 'Everywhere you are signed in. Do you know them all?' : 'You are signed in here, and nowhere else.')}
<ul class="rows" role="list">${devices.map((device) => deviceRow(device, device.handle === here))}</ul>
${
  others > 0 &&
  html`<form method="post" action="/devices/sign-out-others"><button>Sign out everywhere else</button></form>`
}`,
  }
}

function deviceRow(device: SessionInfo, isHere: boolean): Html {
  const { handle, lastSeenAt, authenticatedAt, expiresAt, persistent } = device
  const name = deviceName(device)
  return html`
<li class="row device">
  <div>
    <h2>${name}${isHere && html` <span class="tag">This one</span>`}</h2>
    <p>Last seen ${moment(lastSeenAt)}. Signed in ${moment(authenticatedAt)}. Ends ${moment(expiresAt)} if it stays idle${persistent ? ', remembered' : ', or with the browser'}.</p>
  </div>
  <form method="post" action="/devices/sign-out">
    <input type="hidden" name="handle" value="${handle}">
    <button class="plain">Sign out ${isHere ? 'here' : html`there<span class="aside">: ${name}</span>`}</button>
  </form>
</li>`
}

function deviceName({ about }: SessionInfo): string {
  return `${about.browser} on ${about.system}`
}

/** `device` is what the list of devices knows of this session: nothing before a login. */
export function keptPage(session: Session<Visitor>, device: SessionInfo | undefined): Page {
  return {
    title: 'What we keep',
    path: '/kept',
    main: session.isNew ? nothingKept : kept(session, device),
  }
}

const nothingKept = html`
${band('What we keep', 'Nothing. You have no session here, and looking at this page made none.')}
<p><a class="button" href="/">See the teas</a></p>`

function kept(session: Session<Visitor>, device: SessionInfo | undefined): Html {
  const { handle, data, userId, generation } = session
  return html`
${band('What we keep', 'What this server holds for you. The token in your cookie is not among it: of that we have only a hash, which opens nothing.')}
<dl class="facts">
  ${fact('Handle, a public name', html`<code>${handle}</code>`, 'wide')}
  ${fact('Created', moment(session.createdAt))}
  ${fact('Last seen before', moment(session.lastSeenAt))}
  ${fact('Expires, if left idle', moment(session.expiresAt))}
  ${fact('Signed in', userId === undefined ? 'no' : html`as ${userId}, ${moment(session.authenticatedAt)}`)}
  ${fact('Device', device ? deviceName(device) : 'not kept before you sign in')}
  ${fact('Remembered', device?.persistent ? 'yes' : 'until the browser closes')}
  ${fact('Level', session.level ?? 'none')}
  ${fact('Generation', generation)}
</dl>
<h2 id="data">Data <small>${Buffer.byteLength(JSON.stringify(data))} bytes</small></h2>
<pre tabindex="0" aria-labelledby="data"><code>${JSON.stringify(data, null, 2)}</code></pre>
<form class="stack" method="post" action="/kept/rotate">
  <button>Give me a new token</button>
  <p><small>Everything stays but the cookie. The old one works for five more minutes, so that no other tab is signed out.</small></p>
</form>`
}

function fact(name: string, value: Html | string | number | undefined, width = ''): Html {
  return html`<div class="fact ${width}"><dt>${name}</dt><dd>${value}</dd></div>`
}

export function errorPage(title: string, advice: string): Page {
  return {
    title,
    main: html`
${band(title, advice)}
<p><a class="button" href="/">Back to the teas</a></p>`,
  }
}

/** Also for the device that was signed out from another one, until it signs in or clears its cookie. */
export const endedPage: Page = {
  title: 'You were signed out',
  main: html`
${band('You were signed out', 'Your session has ended, perhaps from another of your devices. What you may just have sent was not done.')}
<form class="choices" method="post" action="/logout">
  <a class="button" href="/login">Sign in</a>
  <button class="plain">Go on without</button>
</form>`,
}

const pounds = new Intl.NumberFormat('en-GB', { style: 'currency', currency: 'GBP' })

function money(pence: number): string {
  return pounds.format(pence / 100)
}

const clockTime = new Intl.DateTimeFormat('en-GB', {
  dateStyle: 'medium',
  timeStyle: 'short',
  timeZone: 'UTC',
})
const distance = new Intl.RelativeTimeFormat('en', { numeric: 'auto' })
const UNITS = [
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
] as const

/** In words, which hold in every time zone; the exact time is in the attribute and in the tooltip. */
function moment(date: Date | undefined): Html | undefined {
  if (!date) return undefined
  const seconds = (date.getTime() - Date.now()) / 1000
  const [unit, length] = UNITS.find(([, length]) => Math.abs(seconds) >= length) ?? ['minute', 60]
  const words = Math.abs(seconds) < 60 ? 'just now' : distance.format(Math.round(seconds / length), unit)
  return html`<time datetime="${date.toISOString()}" title="${clockTime.format(date)} UTC">${words}</time>`
}
