/** What to start node with so that it does not find these packages. */
export function withoutPackages(packages: readonly string[]): string[] {
  const hooks = `export function resolve(name, context, next) {
    if (!${JSON.stringify(packages)}.includes(name)) return next(name, context)
    throw Object.assign(new Error("Cannot find package '" + name + "'"), { code: 'ERR_MODULE_NOT_FOUND' })
  }`
  const register = `import { register } from 'node:module'; register(${JSON.stringify(toUrl(hooks))})`
  return ['--import', 'tsx', '--import', toUrl(register)]
}

function toUrl(program: string): string {
  return `data:text/javascript,${encodeURIComponent(program)}`
}
