//! The client's side of the conversation between a core and its control thread.

use std::sync::Arc;
use std::time::Duration;

use super::spec::{ClientSpec, FromCore, ToCore};
use super::subvol::SessionEnd;
use super::{Caller, Volume};
use crate::exec::{self, mailbox};
use crate::replicate::{BrickEvent, BrickSet};
use crate::wire::fop::GetxattrReq;
use crate::wire::{Dict, Gfid};

/// How long operations wait at the start for the bricks' first status (brick-and-replicate.md D.15).
const START_UP_WAIT: Duration = Duration::from_secs(10);
/// How often bricks that are not trusted yet are checked for pending heals.
const CONFIRM_INTERVAL: Duration = Duration::from_millis(500);

/// Keeps `volume`'s sessions by what the control thread says, until [`ToCore::Shutdown`].
///
/// The control thread hears of every change through `told`; events it has no room for are dropped with a warning,
/// except requests for an endpoint, which are repeated.
pub async fn serve(volume: Volume, mut from_control: mailbox::Receiver<ToCore>, told: mailbox::Sender<FromCore>) {
    let bricks = volume.bricks();
    tell_events(&volume, &told);
    for brick in 0..bricks {
        tell(&told, FromCore::NeedEndpoint { brick });
    }
    let starting = volume.clone();
    let ready_told = told.clone();
    exec::spawn(async move {
        let _ = exec::timeout(START_UP_WAIT, starting.ready()).await;
        starting.end_start_up();
        tell(
            &ready_told,
            FromCore::Ready {
                up: starting.up().len(),
            },
        );
    });
    let confirming = exec::spawn(confirm(volume.clone()));
    while let Some(message) = from_control.recv().await {
        match message {
            ToCore::Endpoint { brick, addr } if brick < bricks => {
                let (volume, told) = (volume.clone(), told.clone());
                exec::spawn(async move {
                    let end = volume.subvol(brick).clone().run(addr).await;
                    volume.unreachable(brick);
                    match end {
                        SessionEnd::Retry(why) => tracing::debug!("brick {brick}: {why}"),
                        SessionEnd::AuthFailed(why) => tell(&told, FromCore::AuthFailed { brick, why }),
                    }
                    tell_surely(&told, FromCore::NeedEndpoint { brick }).await;
                });
            }
            ToCore::Unreachable { brick, why } if brick < bricks => {
                tracing::debug!("brick {brick} cannot be reached: {why}");
                volume.unreachable(brick);
            }
            ToCore::Endpoint { brick, .. } | ToCore::Unreachable { brick, .. } => {
                tracing::error!("the control thread named brick {brick} of {bricks}");
            }
            ToCore::Topology(spec) => reconfigure(&volume, &spec),
            ToCore::Shutdown => break,
        }
    }
    confirming.abort();
    volume.release_everything().await;
}

/// Takes over a changed volfile.
fn reconfigure(volume: &Volume, spec: &ClientSpec) {
    let old = volume.spec();
    if !old.same_bricks(spec) {
        return tracing::error!("the volume's bricks have changed; mount it anew to follow");
    }
    // The identity is this core's own: the bricks know its sessions by it.
    let client_id = old.client_id.clone();
    volume.set_options(&Arc::new(ClientSpec {
        client_id,
        ..spec.clone()
    }));
    tracing::info!("new options are in effect");
}

fn tell_events(volume: &Volume, told: &mailbox::Sender<FromCore>) {
    let told = told.clone();
    volume.on_event(move |event| match event {
        BrickEvent::Up(brick) => tell(&told, FromCore::Up { brick }),
        BrickEvent::Down(brick, why) => tell(&told, FromCore::Down { brick, why }),
        BrickEvent::Health(brick, change) => tell(&told, FromCore::Health { brick, change }),
    });
}

fn tell(told: &mailbox::Sender<FromCore>, event: FromCore) {
    if let Err(lost) = told.send(event) {
        tracing::warn!("the control thread does not keep up: {lost:?} dropped");
    }
}

async fn tell_surely(told: &mailbox::Sender<FromCore>, event: FromCore) {
    while told.send(event.clone()).is_err() {
        exec::sleep(Duration::from_millis(10)).await;
    }
}

/// Finds out, while a quorum is up, whether any brick has heals pending. When none has, every brick that is up holds
/// everything and may serve reads even if it is left alone (DESIGN.md P6).
pub async fn confirm(volume: Volume) {
    volume.ready().await;
    loop {
        let (up, generation) = (volume.up(), volume.generation());
        if !(up - volume.trusted()).is_empty()
            && volume.quorum().met(up)
            && nothing_pending(&volume, up).await
            && volume.generation() == generation
        {
            up.iter().for_each(|brick| volume.trust(brick));
            tracing::info!("bricks {up:?} are up with no heal pending");
        }
        exec::sleep(CONFIRM_INTERVAL).await;
    }
}

async fn nothing_pending(volume: &Volume, up: BrickSet) -> bool {
    let name = bytes::Bytes::from_static(b"glusterfs.xattrop_index_count");
    let req = GetxattrReq {
        gfid: Gfid::ROOT,
        namelen: 1,
        name,
        xdata: Dict::null(),
    };
    let cred = volume.cred(&Caller::default(), 0);
    let answers = volume.ask(up, |_, s| s.call(&cred, &req)).await;
    answers.ok() == up
        && answers
            .iter()
            .all(|(_, r)| r.dict.get_u64("glusterfs.xattrop_index_count").is_some_and(|n| n == 0))
}
