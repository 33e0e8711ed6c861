import type { SessionRow } from '../wire.ts'
import { h, say } from './dom.ts'
import { count, device } from './format.ts'
import { server } from './server.ts'

export interface Question {
  readonly title: string
  readonly text: string
  readonly button: string
  readonly target: Parameters<typeof server.revoke>[0]
  /** What has to be typed before it can be done. */
  readonly word?: string
}

/** Asks, and ends what was asked about. True if it was done. */
export function confirmRevoke({ title, text, button, target, word }: Question): Promise<boolean> {
  const input = h('input', { id: 'word', autocomplete: 'off', autocapitalize: 'none', spellcheck: 'false' })
  const problem = h('p', { class: 'problem', role: 'alert' })
  const act = h('button', { class: 'danger', type: 'submit', disabled: word !== undefined }, button)
  const cancel = h('button', { type: 'button', onclick: (): void => dialog.close() }, 'Cancel')
  const form = h(
    'form',
    { method: 'dialog', onsubmit: revoke },
    h('h2', { id: 'question', class: 'question' }, title),
    h('p', { id: 'consequence' }, text),
    word && h('p', { class: 'field' }, h('label', { for: 'word' }, `Type “${word}” to go on`), input),
    problem,
    h('p', { class: 'actions' }, cancel, act),
  )
  const dialog: HTMLDialogElement = h(
    'dialog',
    { 'aria-labelledby': 'question', 'aria-describedby': 'consequence' },
    form,
  )
  let isDone = false

  input.addEventListener('input', () => (act.disabled = input.value !== word))

  async function revoke(event: Event): Promise<void> {
    event.preventDefault()
    if (act.disabled) return
    act.disabled = true
    say(act, 'Ending …')
    say(problem, '')
    try {
      const { count: ended } = await server.revoke(target)
      isDone = true
      announce(ended === 0 ? 'It had ended already.' : `${count(ended)} ended.`)
      dialog.close()
    } catch (error) {
      say(problem, (error as Error).message)
      say(act, button)
      act.disabled = false
      act.focus()
    }
  }

  document.body.append(dialog)
  dialog.showModal()
  // What cannot be undone should not be what Enter does at once.
  ;(word === undefined ? cancel : input).focus()
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      dialog.remove()
      resolve(isDone)
    })
  })
}

/** The same for one session. */
export function confirmEnd({ handle, userId, about }: SessionRow): Promise<boolean> {
  const on = device(about)
  return confirmRevoke({
    title: 'End this session?',
    text: `${userId === null ? 'A visitor who is not logged in' : userId}${on && `, ${on}`}. ${userId === null ? 'What is kept in it is gone.' : 'The user is signed out there.'} This cannot be undone.`,
    button: 'End it',
    target: { handle },
  })
}

let fading: ReturnType<typeof setTimeout> | undefined

/** Also to screen readers. */
export function announce(line: string): void {
  const said = document.getElementById('said')!
  said.textContent = line
  clearTimeout(fading)
  fading = setTimeout(() => (said.textContent = ''), 8_000)
}
