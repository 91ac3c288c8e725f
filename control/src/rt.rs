//! The control runtime: tasks, timers, sockets, child processes and signals for the control plane.
//!
//! This is the only file that names tokio-uring and tokio, so that the runtime can be exchanged. Everything runs on one
//! current-thread runtime; tasks are `!Send`. Nothing of the data path may come in here: its cores have their own
//! executor. Sockets are established by readiness (a connect that is dropped closes its socket at once, so a SYN in
//! kernel back-off is abandoned) and then handed to the ring, which does the reads and writes.

use std::future::Future;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::rc::Rc;
use std::time::Duration;

use datapath::sys;

/// Queues and events between tasks. `mpsc::UnboundedSender`, `Notify` and `watch` may also be used by other threads.
pub mod sync {
    pub use tokio::sync::{Mutex, Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
}

/// A moment on the runtime's monotonic clock.
pub use tokio::time::Instant;

/// Runs `future` and everything it spawns on a new runtime of the calling thread, until `future` ends. Tasks still
/// running then are dropped.
pub fn block_on<F: Future>(future: F) -> io::Result<F::Output> {
    let mut builder = tokio_uring::builder();
    builder.entries(256);
    let runtime = tokio_uring::Runtime::new(&builder)?;
    Ok(runtime.block_on(future))
}

/// A spawned task. Dropping the handle lets the task run on.
#[derive(Debug)]
pub struct Task<T>(tokio::task::JoinHandle<T>);

impl<T> Task<T> {
    /// Stops the task at its next suspension point.
    pub fn abort(&self) {
        self.0.abort();
    }

    /// Whether the task has ended.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    /// The task's result; `None` if it was aborted or panicked.
    pub async fn join(self) -> Option<T> {
        self.0.await.ok()
    }
}

/// Aborts its task when dropped: for tasks that belong to one owner.
#[derive(Debug)]
pub struct OwnedTask<T>(Task<T>);

impl<T> Drop for OwnedTask<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Starts a task on the current runtime.
pub fn spawn<F>(future: F) -> Task<F::Output>
where
    F: Future + 'static,
{
    Task(tokio_uring::spawn(future))
}

/// Starts a task that ends when the returned handle is dropped.
pub fn spawn_owned<F>(future: F) -> OwnedTask<F::Output>
where
    F: Future + 'static,
{
    OwnedTask(spawn(future))
}

/// Runs a blocking function (name resolution, waiting for a lock) on a helper thread.
pub async fn blocking<T, F>(f: F) -> io::Result<T>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    tokio::task::spawn_blocking(f).await.map_err(io::Error::other)
}

/// Waits for `duration`.
pub async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Waits until `deadline`.
pub async fn sleep_until(deadline: Instant) {
    tokio::time::sleep_until(deadline).await;
}

/// The time given to [`timeout`] ran out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed;

impl std::fmt::Display for Elapsed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("timed out")
    }
}

impl std::error::Error for Elapsed {}

/// `future`'s result, or [`Elapsed`] after `duration`. The future is dropped in the second case.
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Result<F::Output, Elapsed> {
    tokio::time::timeout(duration, future).await.map_err(|_| Elapsed)
}

/// The address of a stream's other end, or of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// TCP over IPv4 or IPv6.
    Tcp(SocketAddr),
    /// A Unix stream socket; empty for an unnamed peer.
    Unix(PathBuf),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Address::Tcp(addr) => write!(f, "{addr}"),
            Address::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

enum Socket {
    Tcp(tokio_uring::net::TcpStream),
    Unix(tokio_uring::net::UnixStream),
}

struct StreamInner {
    socket: Socket,
    peer: Address,
    local: Address,
}

impl StreamInner {
    fn shutdown(&self) {
        // ENOTCONN after a reset is the only error there is, and then the aim is reached already.
        let _ = match &self.socket {
            Socket::Tcp(s) => s.shutdown(Shutdown::Both),
            Socket::Unix(s) => s.shutdown(Shutdown::Both),
        };
    }
}

impl Drop for StreamInner {
    /// A read still in the ring holds the descriptor; the shutdown ends it.
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// A connected stream socket. Clones share the connection; it ends when the last clone is dropped or by
/// [`Stream::shutdown`]. One task may read while another writes.
#[derive(Clone)]
pub struct Stream(Rc<StreamInner>);

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream")
            .field("peer", &self.0.peer)
            .finish_non_exhaustive()
    }
}

impl Stream {
    /// Connects to `address`. No time limit of its own: combine with [`timeout`]; a dropped attempt is abandoned.
    pub async fn connect(address: &Address) -> io::Result<Stream> {
        match address {
            Address::Tcp(addr) => {
                let stream = tokio::net::TcpStream::connect(addr).await?;
                Stream::from_std_tcp(stream.into_std()?)
            }
            Address::Unix(path) => {
                let stream = tokio::net::UnixStream::connect(path).await?.into_std()?;
                stream.set_nonblocking(false)?;
                Ok(Stream::new(
                    Socket::Unix(tokio_uring::net::UnixStream::from_std(stream)),
                    address.clone(),
                    Address::Unix(PathBuf::new()),
                ))
            }
        }
    }

    /// Takes over a connected TCP socket.
    pub fn from_std_tcp(stream: std::net::TcpStream) -> io::Result<Stream> {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        // A peer whose machine vanished must not hold the connection for ever; the values are glusterd.vol's.
        sys::net::set_keepalive(stream.as_fd(), Duration::from_secs(10), Duration::from_secs(2), 9)?;
        let (peer, local) = (Address::Tcp(stream.peer_addr()?), Address::Tcp(stream.local_addr()?));
        Ok(Stream::new(
            Socket::Tcp(tokio_uring::net::TcpStream::from_std(stream)),
            peer,
            local,
        ))
    }

    /// Takes over a connected Unix socket.
    pub fn from_std_unix(stream: std::os::unix::net::UnixStream) -> io::Result<Stream> {
        stream.set_nonblocking(false)?;
        let peer = Address::Unix(
            stream
                .peer_addr()?
                .as_pathname()
                .map(Path::to_path_buf)
                .unwrap_or_default(),
        );
        let local = Address::Unix(
            stream
                .local_addr()?
                .as_pathname()
                .map(Path::to_path_buf)
                .unwrap_or_default(),
        );
        Ok(Stream::new(
            Socket::Unix(tokio_uring::net::UnixStream::from_std(stream)),
            peer,
            local,
        ))
    }

    fn new(socket: Socket, peer: Address, local: Address) -> Stream {
        Stream(Rc::new(StreamInner { socket, peer, local }))
    }

    /// Reads into `buf` from its start (its length is ignored, its capacity counts). Returns the number of bytes, 0 at
    /// the end of the stream, and the buffer with that length. If the future is dropped the connection must be given
    /// up: the ring may still take bytes off it.
    pub async fn read(&self, mut buf: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        buf.clear();
        match &self.0.socket {
            Socket::Tcp(s) => s.read(buf).await,
            Socket::Unix(s) => s.read(buf).await,
        }
    }

    /// Writes all of `buf`. If the future is dropped the connection must be given up.
    pub async fn write_all(&self, buf: Vec<u8>) -> io::Result<()> {
        match &self.0.socket {
            Socket::Tcp(s) => s.write_all(buf).await.0,
            Socket::Unix(s) => s.write_all(buf).await.0,
        }
    }

    /// The other end.
    pub fn peer(&self) -> &Address {
        &self.0.peer
    }

    /// This end.
    pub fn local(&self) -> &Address {
        &self.0.local
    }

    /// Ends the connection in both directions; pending and later reads return 0.
    pub fn shutdown(&self) {
        self.0.shutdown();
    }
}

enum Listening {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

/// A listening socket.
pub struct Listener {
    inner: Listening,
    local: Address,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener")
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}

impl Listener {
    /// Listens on `address`. A Unix socket file that is there already is removed first (it is stale: whoever runs a
    /// service under that name is guarded by a pid file), anything else of that name is an error. Must be called on
    /// the runtime.
    pub fn bind(address: &Address) -> io::Result<Listener> {
        match address {
            Address::Tcp(addr) => {
                let std = std::net::TcpListener::bind(addr)?;
                std.set_nonblocking(true)?;
                let local = Address::Tcp(std.local_addr()?);
                Ok(Listener {
                    inner: Listening::Tcp(tokio::net::TcpListener::from_std(std)?),
                    local,
                })
            }
            Address::Unix(path) => {
                remove_stale_socket(path)?;
                let inner = Listening::Unix(tokio::net::UnixListener::bind(path)?);
                Ok(Listener {
                    inner,
                    local: address.clone(),
                })
            }
        }
    }

    /// The address listened on (with the port the kernel chose, if 0 was asked for).
    pub fn local(&self) -> &Address {
        &self.local
    }

    /// Waits for the next connection. Errors may pass (out of descriptors): the caller should wait a little and go on.
    pub async fn accept(&self) -> io::Result<Stream> {
        match &self.inner {
            Listening::Tcp(l) => Stream::from_std_tcp(l.accept().await?.0.into_std()?),
            Listening::Unix(l) => Stream::from_std_unix(l.accept().await?.0.into_std()?),
        }
    }
}

fn remove_stale_socket(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.file_type().is_socket() => std::fs::remove_file(path),
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            format!("{} exists and is not a socket", path.display()),
        )),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

/// A child process. Dropping it neither kills nor waits.
#[derive(Debug)]
pub struct Child {
    inner: tokio::process::Child,
    pid: i32,
}

impl Child {
    /// Starts `command`. Must be called on the runtime, which collects the child's exit status.
    pub fn spawn(command: Command) -> io::Result<Child> {
        let inner = tokio::process::Command::from(command).kill_on_drop(false).spawn()?;
        let pid = inner
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .ok_or(io::ErrorKind::NotFound)?;
        Ok(Child { inner, pid })
    }

    /// The process id.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Waits for the end of the child.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.inner.wait().await
    }
}

/// What a finished [`output`] command left.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

/// Runs `command` to its end and collects what it writes.
pub async fn output(command: Command) -> io::Result<Output> {
    let out = tokio::process::Command::from(command).output().await?;
    Ok(Output {
        status: out.status,
        stdout: out.stdout,
        stderr: out.stderr,
    })
}

/// A stream of one or more signals.
#[derive(Debug)]
pub struct Signals {
    each: Vec<(i32, tokio::signal::unix::Signal)>,
}

impl Signals {
    /// Takes over `numbers` (`libc::SIGTERM`...): from now on they no longer have their default effect.
    pub fn new(numbers: &[i32]) -> io::Result<Signals> {
        let mut each = Vec::with_capacity(numbers.len());
        for &number in numbers {
            each.push((
                number,
                tokio::signal::unix::signal(tokio::signal::unix::SignalKind::from_raw(number))?,
            ));
        }
        Ok(Signals { each })
    }

    /// Waits for the next signal and returns its number.
    pub async fn next(&mut self) -> i32 {
        std::future::poll_fn(|cx| {
            for (number, signal) in &mut self.each {
                if signal.poll_recv(cx).is_ready() {
                    return std::task::Poll::Ready(*number);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tcp_streams_carry_bytes_both_ways_and_end() {
        block_on(async {
            let listener = Listener::bind(&Address::Tcp("127.0.0.1:0".parse().unwrap())).unwrap();
            let address = listener.local().clone();
            let server = spawn(async move {
                let stream = listener.accept().await.unwrap();
                let (n, buf) = stream.read(Vec::with_capacity(64)).await;
                assert_eq!((n.unwrap(), buf.as_slice()), (5, b"hello".as_slice()));
                stream.write_all(b"world!".to_vec()).await.unwrap();
            });
            let client = Stream::connect(&address).await.unwrap();
            client.write_all(b"hello".to_vec()).await.unwrap();
            let (n, buf) = client.read(Vec::with_capacity(64)).await;
            assert_eq!((n.unwrap(), buf.as_slice()), (6, b"world!".as_slice()));
            server.join().await.unwrap();
            assert_eq!(client.read(Vec::with_capacity(64)).await.0.unwrap(), 0);
        })
        .unwrap();
    }

    #[test]
    fn a_dropped_read_does_not_keep_the_connection() {
        let path = std::env::temp_dir().join(format!("rt-drop-{}.socket", std::process::id()));
        block_on(async {
            let listener = Listener::bind(&Address::Unix(path.clone())).unwrap();
            let client = Stream::connect(&Address::Unix(path.clone())).await.unwrap();
            let server = listener.accept().await.unwrap();
            let read = timeout(Duration::from_millis(20), client.read(Vec::with_capacity(16))).await;
            assert_eq!(read.unwrap_err(), Elapsed);
            drop(client);
            let end = timeout(Duration::from_secs(5), server.read(Vec::with_capacity(16))).await;
            assert_eq!(end.unwrap().0.unwrap(), 0);
            // A second bind replaces the stale file of the first.
            drop(listener);
            Listener::bind(&Address::Unix(path.clone())).unwrap();
        })
        .unwrap();
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn children_are_waited_for() {
        block_on(async {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", "exit 7"]);
            let mut child = Child::spawn(command).unwrap();
            assert!(child.pid() > 1);
            assert_eq!(child.wait().await.unwrap().code(), Some(7));
        })
        .unwrap();
    }
}
