//! `control.sock` in the data directory: where `warren cluster` asks the node that runs. Only who may use the directory may
//! use it. A line of JSON each way.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};

use crate::node::cluster::inputs::ManagerInput;
use crate::node::mailbox::Mailbox;

const FILE: &str = "control.sock";
const QUESTION_BYTES_MAX: u64 = 1 << 20;
const QUESTION_TAKES: Duration = Duration::from_secs(5);
const CONNECTIONS_MAX: usize = 16;
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Where the socket of a data directory is.
pub(crate) fn file(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE)
}

/// Runs for ever. A node without the socket works, but cannot be asked this way.
pub(super) async fn run(data_dir: PathBuf, manager: Arc<Mailbox<ManagerInput>>) {
    match bind(&data_dir) {
        Ok(listener) => accept(listener, manager).await,
        Err(error) => {
            let file = file(&data_dir);
            tracing::warn!(file = %file.display(), %error, "`warren cluster` cannot ask this node by its data directory");
            std::future::pending::<()>().await;
        }
    }
}

/// The directory is locked: what is there of the name is left from an earlier run.
fn bind(data_dir: &Path) -> io::Result<UnixListener> {
    let (file, draft) = (file(data_dir), data_dir.join("control.tmp"));
    for left in [&file, &draft] {
        match fs::remove_file(left) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let listener = UnixListener::bind(&draft)?;
    // It gets its name when nobody else may use it any more.
    fs::set_permissions(&draft, Permissions::from_mode(0o600))?;
    fs::rename(&draft, &file)?;
    Ok(listener)
}

#[expect(clippy::disallowed_methods, reason = "a short task for each question")]
async fn accept(listener: UnixListener, manager: Arc<Mailbox<ManagerInput>>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let manager = Arc::clone(&manager);
                tokio::spawn(async move {
                    if let Err(error) = serve(stream, &manager).await {
                        tracing::debug!(%error, "a question by the control socket was given up");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a question by the control socket");
                sleep(RETRY_AFTER).await;
            }
        }
    }
}

async fn serve(mut stream: UnixStream, manager: &Mailbox<ManagerInput>) -> io::Result<()> {
    let mut question = Vec::new();
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::new(reader.take(QUESTION_BYTES_MAX));
    timeout(QUESTION_TAKES, reader.read_until(b'\n', &mut question)).await??;
    let (reply, answer) = oneshot::channel();
    manager.push(ManagerInput::Request(question.into(), reply));
    let answer = answer.await.map_err(|_| io::Error::other("the node is stopping"))?;
    writer.write_all(&answer).await?;
    writer.write_all(b"\n").await?;
    writer.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_question_by_the_socket_is_answered_and_only_for_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(file(dir.path()), "left by an earlier run").unwrap();
        let manager = Arc::new(Mailbox::new(usize::MAX));
        let listener = bind(dir.path()).unwrap();
        let mode = fs::metadata(file(dir.path())).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let serving = accept(listener, Arc::clone(&manager));
        let answering = async {
            let mut inputs = Vec::new();
            manager.filled().await;
            manager.take(&mut inputs);
            let Some(ManagerInput::Request(question, reply)) = inputs.pop() else { panic!() };
            assert_eq!(&question[..], b"\"Who\"\n");
            reply.send("{}".into()).unwrap();
        };
        let asking = async {
            let mut stream = UnixStream::connect(file(dir.path())).await.unwrap();
            stream.write_all(b"\"Who\"\n").await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let answer = tokio::select! {
            () = serving => panic!(),
            (answer, ()) = async { tokio::join!(asking, answering) } => answer,
        };
        assert_eq!(answer, "{}\n");
    }
}
