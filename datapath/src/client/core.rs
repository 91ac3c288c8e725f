//! The client's side of the conversation between a core and its control thread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::spec::{ClientSpec, FromCore, ToCore};
use super::subvol::SessionEnd;
use super::{Caller, LiveVolume, Volume};
use crate::exec::{self, mailbox};
use crate::replicate::{BrickEvent, BrickSet};
use crate::wire::fop::GetxattrReq;
use crate::wire::{Dict, Gfid};

/// How long operations wait at the start for the bricks' first status (brick-and-replicate.md D.15).
const START_UP_WAIT: Duration = Duration::from_secs(10);
/// Changed volfiles that may wait for their turn.
const TOPOLOGIES: usize = 64;
/// How often bricks that are not trusted yet are checked for pending heals.
const CONFIRM_INTERVAL: Duration = Duration::from_millis(500);

/// Keeps the volume's sessions by what the control thread says, until [`ToCore::Shutdown`]. Bricks are named by their
/// places ([`super::Places`]) in both directions.
///
/// The control thread hears of every change through `told`; events it has no room for are dropped with a warning,
/// except requests for an endpoint, which are repeated.
pub async fn serve(
    volume: impl Into<LiveVolume>,
    mut from_control: mailbox::Receiver<ToCore>,
    told: mailbox::Sender<FromCore>,
) {
    let live: LiveVolume = volume.into();
    tell_events(&live, &told);
    for brick in 0..live.current().bricks() {
        tell(&told, FromCore::NeedEndpoint { brick });
    }
    let starting = live.current();
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
    let (changes, topologies) = mailbox::channel(TOPOLOGIES);
    let changing = exec::spawn(follow(live.clone(), topologies, told.clone()));
    while let Some(message) = from_control.recv().await {
        match message {
            ToCore::Endpoint { brick, addr } => drop(exec::spawn(session(live.clone(), brick, addr, told.clone()))),
            ToCore::Unreachable { brick, why } => {
                tracing::debug!("brick {brick} cannot be reached: {why}");
                if let Some(index) = live.index(brick) {
                    live.current().unreachable(index);
                }
            }
            ToCore::Topology(spec) => {
                if let Err(lost) = changes.send(spec) {
                    tracing::error!("a change of the volume is not followed: {lost}");
                }
            }
            ToCore::Shutdown => break,
        }
    }
    changing.abort();
    live.current().release_everything().await;
    // The handler knows the volume, and the volume its handler.
    live.current().on_event(|_| {});
}

/// One session with the brick at `place`, from the connect to its end.
async fn session(live: LiveVolume, place: usize, addr: SocketAddr, told: mailbox::Sender<FromCore>) {
    let Some(index) = live.index(place) else {
        return tracing::debug!("brick {place} has left the volume");
    };
    let subvol = live.current().subvol(index).clone();
    let end = subvol.run(addr).await;
    // Its number may be another by now; one that has left is not asked for again.
    let Some(index) = live.index(place) else { return };
    live.current().unreachable(index);
    match end {
        SessionEnd::Retry(why) => tracing::debug!("{}: {why}", subvol.name()),
        SessionEnd::AuthFailed(why) => tell(&told, FromCore::AuthFailed { brick: place, why }),
    }
    tell_surely(&told, FromCore::NeedEndpoint { brick: place }).await;
}

/// What is done for the replica set there is, and what is done again for its successor when the bricks change.
async fn follow(live: LiveVolume, mut topologies: mailbox::Receiver<Arc<ClientSpec>>, told: mailbox::Sender<FromCore>) {
    let mut confirming = AbortOnDrop(exec::spawn(confirm(live.current())));
    while let Some(spec) = topologies.recv().await {
        let old = live.current().spec();
        // The identity is this core's own: the bricks know its sessions by it.
        let spec = Arc::new(ClientSpec {
            client_id: old.client_id.clone(),
            ..(*spec).clone()
        });
        if old.same_bricks(&spec) {
            live.current().set_options(&spec);
            tracing::info!("new options are in effect");
            continue;
        }
        let joined = live.change_bricks(spec).await;
        tell_events(&live, &told);
        confirming = AbortOnDrop(exec::spawn(confirm(live.current())));
        for brick in joined {
            tell_surely(&told, FromCore::NeedEndpoint { brick }).await;
        }
        live.open_gate().await;
        tracing::info!("the volume now has {} bricks", live.current().bricks());
    }
    drop(confirming);
}

/// A task that belongs to its owner.
struct AbortOnDrop(exec::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn tell_events(live: &LiveVolume, told: &mailbox::Sender<FromCore>) {
    let (place, told) = (live.clone(), told.clone());
    live.current().on_event(move |event| match event {
        BrickEvent::Up(index) => {
            if let Some(brick) = place.place(index) {
                tell(&told, FromCore::Up { brick });
            }
        }
        BrickEvent::Down(index, why) => {
            if let Some(brick) = place.place(index) {
                tell(&told, FromCore::Down { brick, why });
            }
        }
        BrickEvent::Health(index, change) => {
            if let Some(brick) = place.place(index) {
                tell(&told, FromCore::Health { brick, change });
            }
        }
        BrickEvent::Wanted => tell(&told, FromCore::Wanted),
    });
}

fn tell(told: &mailbox::Sender<FromCore>, event: FromCore) {
    if let Err(lost) = told.send(event) {
        tracing::warn!("the control thread does not keep up: {lost:?} dropped");
    }
}

async fn tell_surely(told: &mailbox::Sender<FromCore>, event: FromCore) {
    let mut event = event;
    // With the control thread gone there is nobody to tell.
    while let Err(mailbox::SendError::Full(back)) = told.send(event) {
        event = back;
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
