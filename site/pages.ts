import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { DefaultTheme } from 'vitepress'
import { navigation } from './navigation.ts'

export const root = fileURLToPath(new URL('..', import.meta.url))

/** A folder's README is its index on the site. */
export const rewrites = { 'README.md': 'index.md', 'docs/decisions/README.md': 'docs/decisions/index.md' }

/** The pages of a folder and those below, as paths in the repository. */
export function pagesIn(folder: string): string[] {
  return readdirSync(root + folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.md'))
    .map((file) => `${folder}/${file.replaceAll('\\', '/')}`)
    .sort()
}

export function sidebar(): DefaultTheme.SidebarItem[] {
  const listed = new Set(navigation.flatMap(({ pages }) => pages))
  const [decisions, reference] = [
    pagesIn('docs/decisions'),
    existsSync(`${root}docs/api`) ? pagesIn('docs/api') : [],
  ]
  const more = pagesIn('docs').filter((page) => ![...listed, ...decisions, ...reference].includes(page))
  const groups = [
    ...navigation.map((group, i) => ({ ...group, collapsed: i > 0 })),
    { text: 'More', pages: more, collapsed: true },
    { text: 'API reference', pages: reference, collapsed: true },
    { text: 'Decisions', pages: decisions, collapsed: true },
  ]
  return groups
    .map(({ pages, ...group }) => ({
      ...group,
      items: pages
        .filter((page) => existsSync(root + page))
        .map((page) => ({ text: titleOf(page), link: linkTo(page) })),
    }))
    .filter(({ items }) => items.length > 0)
}

/** Of the front matter, or else the first heading. */
export function titleOf(page: string): string {
  const text = readFileSync(root + page, 'utf8')
  const title =
    /^---\n(?:.*\n)*?title: *(.+)\n(?:.*\n)*?---\n/.exec(text)?.[1] ?? /^# +(.+)$/m.exec(text)?.[1]
  if (!title) throw new Error(`${page} has no heading`)
  return title.replace(/[`*_]/g, '')
}

function linkTo(page: string): string {
  return `/${(rewrites[page as keyof typeof rewrites] ?? page).replace(/(index)?\.md$/, '')}`
}

/**
 * Where a link of the repository leads on the site: links to pages stay as they are, a folder or a README is an index, and other files of the
 * repository are nowhere (undefined).
 */
export function linkOnSite(page: string, href: string): string | undefined {
  if (/^([a-z]+:|#|\/)/i.test(href)) return href
  const [path = '', hash] = href.split('#')
  const target = relative(root, resolve(root, dirname(page), path))
  const anchor = hash === undefined ? '' : `#${hash}`
  const index = [target, `${target}/README.md`.replace(/^\//, '')].find((candidate) => candidate in rewrites)
  if (index !== undefined) return linkTo(index) + anchor
  return target.endsWith('.md') && /^(docs\/|[A-Z]+\.md$)/.test(target) ? href : undefined
}
