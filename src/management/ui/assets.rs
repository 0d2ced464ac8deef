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
    "pages/admin.js",
    "pages/channel.js",
    "pages/channels.js",
    "pages/cluster.js",
    "pages/connection.js",
    "pages/connections.js",
    "pages/definitions.js",
    "pages/exchange.js",
    "pages/exchanges.js",
    "pages/node.js",
    "pages/overview.js",
    "pages/policies.js",
    "pages/queue.js",
    "pages/queues.js",
    "pages/user.js",
    "pages/users.js",
    "pages/vhost.js",
    "pages/vhosts.js",
    "parts/bindings.js",
    "parts/bits.js",
    "parts/channel_table.js",
    "parts/chart.js",
    "parts/charts.js",
    "parts/close.js",
    "parts/consumers.js",
    "parts/dialog.js",
    "parts/download.js",
    "parts/form.js",
    "parts/graph.js",
    "parts/header.js",
    "parts/icons.js",
    "parts/known_arguments.js",
    "parts/limits.js",
    "parts/list.js",
    "parts/message_view.js",
    "parts/messages.js",
    "parts/permissions.js",
    "parts/publish.js",
    "parts/queue_forms.js",
    "parts/queue_words.js",
    "parts/table.js",
    "parts/tabs.js",
    "parts/toast.js",
    "parts/whole_list.js",
    "shell.js",
    "style/base.css",
    "style/layout.css",
    "style/parts.css",
    "style/tokens.css",
];
