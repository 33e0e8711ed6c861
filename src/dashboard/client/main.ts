import type { Overview } from '../wire.ts'
import { announce } from './confirm.ts'
import { h, put, visible } from './dom.ts'
import { setClock } from './format.ts'
import { listView } from './list.ts'
import { overviewView } from './overview.ts'
import { type ServerError, server, setManager } from './server.ts'
import { sessionView } from './session.ts'
import type { View } from './view.ts'
import { failureView, hrefTo } from './view.ts'

const main = document.getElementById('main')!
const EVERY = 10_000
const WHILE_COUNTING = 1_000

let range = 'hour'
let latest: Overview | undefined
let timer: ReturnType<typeof setTimeout> | undefined
/** Counts up with each view, so that what comes late for the one before is let go. */
let turn = 0

const overview = overviewView((chosen) => {
  range = chosen
  void refresh()
})

async function load(): Promise<Overview> {
  latest = await server.overview(range)
  setClock(latest.now)
  chooseManager(latest)
  return latest
}

/** Draws the overview anew, and again after a while, as long as it is what is shown. */
async function refresh(): Promise<void> {
  clearTimeout(timer)
  const mine = turn
  let wait = EVERY
  try {
    const now = await load()
    if (mine !== turn) return
    overview.show(now)
    if (now.progress) wait = WHILE_COUNTING
  } catch (error) {
    if (mine !== turn) return
    if ((error as ServerError).status === 403)
      return open(failureView('Not for you', (error as Error).message))
    announce(`${(error as Error).message} What is shown is not new.`)
  }
  timer = setTimeout(() => (document.hidden ? undefined : refresh()), wait)
}

document.addEventListener('visibilitychange', () => {
  if (!document.hidden && main.contains(overview.element)) void refresh()
})

async function route(isFirst = false): Promise<void> {
  const mine = ++turn
  clearTimeout(timer)
  const [, name = '', encoded = ''] = location.hash.split('/')
  const value = decoded(encoded)
  mark(name)
  let view: View
  try {
    const known = latest ?? (await load())
    if (name === 'sessions') view = await listView(known)
    else if (name === 'user') view = await listView(known, value)
    else if (name === 'session') view = await sessionView(known, value)
    else {
      view = overview
      if (mine === turn) overview.show(isFirst ? known : (latest ?? known))
    }
  } catch (error) {
    const { message, status } = error as ServerError
    view = failureView(status === 404 ? 'Not there' : status === 403 ? 'Not for you' : 'That failed', message)
  }
  if (mine !== turn) return
  open(view, isFirst)
  if (view !== overview) return
  if (isFirst) timer = setTimeout(refresh, latest?.progress ? WHILE_COUNTING : EVERY)
  else void refresh()
}

function open({ title, element }: View, isFirst = false): void {
  document.title = `${visible(title)} · Sessions`
  put(main, element)
  if (isFirst) return
  scrollTo(0, 0)
  element.querySelector('h1')?.focus({ preventScroll: true })
}

function mark(name: string): void {
  for (const link of document.querySelectorAll('header nav a')) {
    const isCurrent = link.getAttribute('href') === (name === '' ? '#/' : '#/sessions')
    if (isCurrent) link.setAttribute('aria-current', 'page')
    else link.removeAttribute('aria-current')
  }
}

/** Only where there is a choice. */
function chooseManager({ managers, name }: Overview): void {
  const place = document.getElementById('managers')!
  if (managers.length < 2 || place.childElementCount > 0) return
  const select: HTMLSelectElement = h(
    'select',
    { id: 'manager', onchange: () => show(select.selectedIndex) },
    ...managers.map((one) => h('option', { selected: one.name === name }, one.name)),
  )
  const show = (index: number) => {
    setManager(index)
    latest = undefined
    if (location.hash.length > 2) location.hash = '#/'
    else void route()
  }
  put(place, h('label', { for: 'manager' }, 'Manager'), select)
}

document.getElementById('search')!.addEventListener('submit', async (event) => {
  event.preventDefault()
  const query = (document.getElementById('query') as HTMLInputElement).value.trim()
  if (query === '') return
  const target = hrefTo((await isHandle(query)) ? 'session' : 'user', query)
  if (location.hash === target) void route()
  else location.hash = target
})

/** A user id may look like a handle: then the session decides, if there is one. */
async function isHandle(query: string): Promise<boolean> {
  if (!/^[\w-]{43}$/.test(query)) return false
  if (!latest?.canFindUsers) return true
  return server.session(query).then(
    () => true,
    (error: ServerError) => error.status !== 404,
  )
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

addEventListener('hashchange', () => {
  // The link that skips to the content is no route.
  if (location.hash.startsWith('#/') || location.hash === '') void route()
})

// As a link it would take the place of the route in the address.
document.querySelector('.skip')!.addEventListener('click', (event) => {
  event.preventDefault()
  main.focus()
})

void route(true)
