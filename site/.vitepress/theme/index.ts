// The theme brings a font of its own; a system's is as good, and nothing to load.
import theme from 'vitepress/theme-without-fonts'
import './style.css'

export default theme
