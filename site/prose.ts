/** The checks of what is written: links, their anchors included, and spelling. Each gives its complaints, or nothing. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))

/** Links between the documents, and to files of the repository. Those to other sites are not followed, nor is the API reference looked at unless it is asked for. */
export function brokenLinks(where = '.'): string {
  const plugin = ['--use', 'remark-validate-links=repository:false']
  const ignored = where === '.' ? ['--ignore-pattern', 'docs/api'] : []
  return complaints('remark', [where, '--frail', '--quiet', '--no-color', ...ignored, ...plugin])
}

/** Words of the documents and of the comments in the sources that are in no dictionary, nor in site/words.txt. */
export function misspellings(...files: readonly string[]): string {
  const all = ['**/*.md', 'src/**/*.ts']
  return complaints('cspell', [
    'lint',
    '--no-progress',
    '--no-summary',
    '--no-color',
    ...(files.length > 0 ? files : all),
  ])
}

function complaints(command: string, parameters: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(`${root}node_modules/.bin/${command}`, parameters, {
    cwd: root,
    encoding: 'utf8',
    shell: process.platform === 'win32',
  })
  if (error) throw error
  return status === 0 ? '' : `${stdout}${stderr}` || `${command} ended with ${status}`
}
