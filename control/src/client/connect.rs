//! Connecting to whichever of several addresses answers first.
//!
//! The addresses are tried in order, each a little after the one before it, so that the first is preferred when it
//! works and costs next to nothing when it does not. No attempt lasts long enough for the kernel's SYN back-off to
//! matter: who wants to go on makes a fresh one.

use std::future::Future;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::rpc::{Address, CallbackHandler, Client};
use crate::rt::{self, Stream};

/// One connection attempt. A SYN that is lost is repeated by the kernel after 1 s at the earliest.
pub(super) const CONNECT_LIMIT: Duration = Duration::from_millis(900);
/// The next address is tried beside those that have not answered after this time.
const STAGGER: Duration = Duration::from_millis(60);

/// The first success of `attempt` over `items`, each started `stagger` after the one before it or when all before it
/// have failed; `Err` has every failure.
pub(super) async fn first<T, F, R, E>(
    items: impl IntoIterator<Item = T>,
    stagger: Duration,
    mut attempt: impl FnMut(T) -> F,
) -> Result<R, Vec<E>>
where
    F: Future<Output = Result<R, E>>,
{
    let mut waiting = items.into_iter().peekable();
    let mut running = FuturesUnordered::new();
    let mut failures = Vec::new();
    loop {
        if let Some(item) = waiting.next() {
            running.push(attempt(item));
        } else if running.is_empty() {
            return Err(failures);
        }
        let next = if waiting.peek().is_some() {
            rt::timeout(stagger, running.next()).await.unwrap_or(None)
        } else {
            running.next().await
        };
        match next {
            Some(Ok(done)) => return Ok(done),
            Some(Err(e)) => failures.push(e),
            None => {}
        }
    }
}

async fn stream(address: Address) -> Result<Stream, String> {
    match rt::timeout(CONNECT_LIMIT, Stream::connect(&address)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(e)) => Err(datapath::errno::Errno::from(e).to_string()),
        Err(_) => Err(format!("no connection within {} ms", CONNECT_LIMIT.as_millis())),
    }
}

/// A stream to whichever of `addresses` takes one.
///
/// # Errors
/// What the last of them said.
pub(super) async fn stream_to_any(addresses: &[Address]) -> Result<Stream, String> {
    let connected = first(addresses.iter().cloned(), STAGGER, stream).await;
    connected.map_err(|failures| {
        failures
            .into_iter()
            .next_back()
            .unwrap_or_else(|| "no address".to_owned())
    })
}

/// A client connection to whichever of `addresses` takes one.
///
/// # Errors
/// What the last of them said.
pub(super) async fn connect_any(addresses: &[Address], callbacks: CallbackHandler) -> Result<Client, String> {
    Ok(Client::over(stream_to_any(addresses).await?, callbacks))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::Listener;

    #[test]
    fn a_dead_first_address_costs_only_the_stagger() {
        rt::block_on(async {
            let listener = Listener::bind(&Address::Tcp("127.0.0.1:0".parse().unwrap())).unwrap();
            let alive = listener.local().clone();
            let refusing = Address::Unix("/nonexistent/socket".into());
            // 192.0.2.0/24 is never routed: the attempt hangs or fails, as the machine likes.
            let silent = Address::Tcp("192.0.2.1:1".parse().unwrap());
            let found = stream_to_any(&[silent.clone(), refusing.clone(), alive.clone()])
                .await
                .unwrap();
            assert_eq!(found.peer(), &alive);
            let error = stream_to_any(&[refusing]).await.unwrap_err();
            assert!(error.contains("No such file"), "{error}");
            assert_eq!(stream_to_any(&[]).await.unwrap_err(), "no address");
        })
        .unwrap();
    }

    #[test]
    fn failures_start_the_next_at_once_and_are_all_told() {
        rt::block_on(async {
            let failing = |n: u32| async move { Err::<(), u32>(n) };
            assert_eq!(
                first([1, 2, 3], Duration::from_secs(3600), failing).await,
                Err(vec![1, 2, 3])
            );
            let second = |n: u32| async move {
                if n == 2 {
                    Ok(n)
                } else {
                    std::future::pending::<Result<u32, ()>>().await
                }
            };
            assert_eq!(first([1, 2], Duration::from_millis(1), second).await, Ok(2));
        })
        .unwrap();
    }
}
