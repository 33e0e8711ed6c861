/** The API reference: one page for each entry point of the package, from the doc comments of its sources. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Converter, ReflectionKind } from 'typedoc'

const root = fileURLToPath(new URL('..', import.meta.url))
const { exports } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'))
const entries = Object.entries(exports)
  .filter(([, file]) => file.endsWith('.js'))
  .map(([name, file]) => ({
    name: `holdfast${name.slice(1)}`,
    source: file.replace(/^\.\/dist\/(.*)\.js$/, 'src/$1.ts'),
  }))

/** TypeDoc names a module after its file; a user knows it by what is imported. */
function nameModules(app) {
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    for (const module of project.children ?? []) {
      const entry = entries.find(
        ({ source }) => source.replace(/^src\/(.*?)(\/index)?\.ts$/, '$1') === module.name,
      )
      if (!entry) throw new Error(`no entry point of package.json is called ${module.name}`)
      module.name = entry.name
      // What `…/types` adds to a framework's global types is said by the entry point itself.
      for (const child of [...(module.children ?? [])]) {
        if (child.kind === ReflectionKind.Namespace) project.removeReflection(child)
      }
    }
  })
}

/** Every exported name has a doc comment. Members have one where their name and type do not say it all. */
function askForComments(app) {
  app.converter.on(Converter.EVENT_RESOLVE_END, ({ project }) => {
    for (const module of project.children ?? []) {
      for (const name of module.children ?? []) {
        if (name.isReference()) continue
        if (!name.comment && !name.signatures?.every(({ comment }) => comment)) {
          app.logger.warn(`${name.name} of ${module.name} has no doc comment`)
        }
      }
    }
  })
}

/** @type {import('typedoc').TypeDocOptions & import('typedoc-plugin-markdown').PluginOptions} */
export default {
  entryPoints: entries.map(({ source }) => root + source),
  tsconfig: `${root}site/tsconfig.json`,
  out: `${root}docs/api`,
  plugin: ['typedoc-plugin-markdown', nameModules, askForComments],
  name: 'API reference',
  readme: 'none',
  router: 'module',
  entryFileName: 'index',
  hideBreadcrumbs: true,
  hidePageHeader: true,
  disableSources: true,
  excludeExternals: true,
  sort: ['kind', 'source-order'],
  sortEntryPoints: false,
  groupOrder: ['Functions', 'Interfaces', 'Classes', 'Type Aliases', 'Variables', '*'],
  useCodeBlocks: true,
  parametersFormat: 'table',
  // Parts of what is typed structurally, or of the store contract: nobody has to name them.
  intentionallyNotExported: [
    'Done',
    'Failure',
    'Found',
    'GlideRoute',
    'Level',
    'PlainStatement',
    'SvelteKitCookieOptions',
  ],
  validation: { notExported: true, invalidLink: true },
  treatWarningsAsErrors: true,
}
