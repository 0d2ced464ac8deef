//! Definitions that the configuration names: imported at each start.

use warren::config::Config;
use warren::management::definitions;
use warren::node::Node;

/// What the configuration asks for is there before anybody is told that the node is. Nodes of a cluster may have to wait for
/// others first, so they are told before.
pub(crate) async fn load(node: &Node, config: &Config) -> Result<(), String> {
    let Some(file) = config.load_definitions.clone() else { return Ok(()) };
    let control = node.control();
    if config.cluster.is_none() {
        return told(definitions::load(&control, &file).await);
    }
    #[expect(clippy::disallowed_methods, reason = "it waits for other nodes while this one serves")]
    tokio::spawn(async move {
        if let Err(problem) = told(definitions::load(&control, &file).await) {
            tracing::error!(problem, "no definitions were imported");
        }
    });
    Ok(())
}

fn told(report: Result<definitions::Report, String>) -> Result<(), String> {
    let report = report?;
    for object in report.remarkable() {
        tracing::warn!("{object}");
    }
    tracing::info!(counts = ?report.counts, "definitions imported");
    Ok(())
}
