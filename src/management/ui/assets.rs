//! The files of the UI, as the binary holds them.

/// A file, and where it stands below `/ui/<version>/`.
pub(super) struct Asset {
    pub(super) path: &'static str,
    pub(super) content: &'static [u8],
}

macro_rules! assets {
    ($($path:literal,)*) => {
        &[$(Asset { path: $path, content: include_bytes!(concat!("assets/", $path)) },)*]
    };
}

/// All files but the page itself.
pub(super) const ASSETS: &[Asset] = assets![
    "core/api.js",
    "core/format.js",
    "core/known.js",
    "core/refresh.js",
    "core/router.js",
    "core/samples.js",
    "core/session.js",
    "core/settings.js",
    "core/view.js",
    "icon.svg",
    "login.js",
    "main.js",
    "pages.js",
    "pages/overview.js",
    "pages/queues.js",
    "parts/bits.js",
    "parts/chart.js",
    "parts/charts.js",
    "parts/header.js",
    "parts/icons.js",
    "parts/list.js",
    "parts/queue_words.js",
    "parts/table.js",
    "parts/toast.js",
    "shell.js",
    "style/base.css",
    "style/layout.css",
    "style/parts.css",
    "style/tokens.css",
];
