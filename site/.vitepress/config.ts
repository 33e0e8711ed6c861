import { slug } from 'github-slugger'
import { defineConfig, type MarkdownOptions } from 'vitepress'
import { linkOnSite, rewrites, root, sidebar } from '../pages.ts'

/** Links are written for the repository, where every file is at hand. */
const links: MarkdownOptions['config'] = (md) => {
  md.core.ruler.push('links-on-site', ({ tokens, env }) => {
    const page = (env.realPath ?? env.path).slice(root.length)
    for (const { children } of tokens) {
      let isNowhere = false
      for (const token of children ?? []) {
        if (token.type === 'link_open') {
          const href = linkOnSite(page, token.attrGet('href') ?? '')
          isNowhere = href === undefined
          if (href !== undefined) token.attrSet('href', href)
        }
        // Empty text in place of both ends: its words stay.
        if (isNowhere && /^link_(open|close)$/.test(token.type)) {
          isNowhere = token.type === 'link_open'
          Object.assign(token, { type: 'text', content: '', tag: '', nesting: 0 })
        }
      }
    }
  })
}

export default defineConfig({
  title: 'Holdfast',
  description: 'User sessions for TypeScript web servers',
  lang: 'en',
  srcDir: '..',
  srcExclude: ['!(docs)/**/*'],
  outDir: '../.cache/docs',
  cacheDir: '../.cache/vitepress',
  rewrites,
  ignoreDeadLinks: 'localhostLinks',
  // The same anchors as on a forge.
  markdown: { config: links, anchor: { slugify: slug } },
  // The index for the search is one piece, which is loaded when somebody searches.
  vite: { build: { chunkSizeWarningLimit: 2000 } },
  themeConfig: {
    nav: [
      { text: 'Start', link: '/docs/start' },
      { text: 'Stores', link: '/docs/stores' },
      { text: 'Operating', link: '/docs/operating' },
      { text: 'API', link: '/docs/api/' },
    ],
    sidebar: sidebar(),
    outline: [2, 3],
    // Pages that explain come before the reference, which names everything.
    search: {
      provider: 'local',
      options: {
        miniSearch: {
          searchOptions: { boostDocument: (page: string) => (page.startsWith('/docs/api/') ? 0.2 : 1) },
        },
      },
    },
  },
})
