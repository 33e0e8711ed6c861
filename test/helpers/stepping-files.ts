/** Every change that this process makes to files begins with a call of `step`. To be imported before whatever makes them. */
import promises, { type FileHandle } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'

let step = () => {}

export function beforeEachChange(call: () => void): void {
  step = call
}

const { link, mkdir, open, rename, unlink } = promises

const stepped =
  <Args extends unknown[], Result>(change: (...args: Args) => Promise<Result>) =>
  (...args: Args): Promise<Result> => {
    step()
    return change(...args)
  }

Object.assign(promises, {
  link: stepped(link),
  mkdir: stepped(mkdir as (...args: unknown[]) => Promise<unknown>),
  rename: stepped(rename),
  unlink: stepped(unlink),
  async open(path: string, flags: string, mode?: number): Promise<FileHandle> {
    if (flags === 'r') return open(path, flags)
    step()
    const file = await open(path, flags, mode)
    // The file is there, and empty.
    return Object.assign(file, { writeFile: stepped(file.writeFile.bind(file)) })
  },
})
syncBuiltinESMExports()
