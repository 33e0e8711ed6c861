import { expect, it } from 'vitest'
import { visible } from '../src/dashboard/client/dom.ts'

it('writes out what would turn the words around it about, or could not be seen', () => {
  expect(visible('ann\u202e gnp')).toBe('ann\\u{202e} gnp')
  expect(visible('an\u200bn')).toBe('an\\u{200b}n')
  expect(visible('\u0007\u2028\u{e0041}')).toBe('\\u{7}\\u{2028}\\u{e0041}')
  expect(visible('{\n\t"name": "Änne 王 <b>"\n}')).toBe('{\n\t"name": "Änne 王 <b>"\n}')
})
