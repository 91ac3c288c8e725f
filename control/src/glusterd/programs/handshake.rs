//! The Handshake program: GETSPEC and GET_VOLUME_INFO (wire-protocol.md 2.3, 4.3).

use std::rc::Rc;

use bytes::Bytes;
use datapath::wire::handshake::{GetVolumeInfoReq, GetVolumeInfoRsp, GetspecReq, GetspecRsp, Proc};
use datapath::wire::{OldDict, program};
use futures_util::future::LocalBoxFuture;

use super::super::daemon::{Daemon, is_local_address};
use super::super::model::OpError;
use super::{arguments, id, reply};
use crate::rpc::{Address, Call, PeerHandle, Program, ProgramId, Refusal};
use crate::rt;

/// Longest key of a volfile, exclusive.
const MAX_KEY: usize = 255;

pub(super) struct Handshake(Daemon);

/// Where a key leads: a volume, a file in its directory, and other entries of the reply.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Located {
    volume: String,
    file: String,
    /// The pid file of the daemon that asks (self-heal daemons are told).
    pid_file: Option<String>,
}

impl Handshake {
    pub(super) fn new(daemon: Daemon) -> Self {
        Self(daemon)
    }

    async fn getspec(&self, call: &Call) -> Result<Bytes, Refusal> {
        let request: GetspecReq = arguments(call)?;
        let key = String::from_utf8_lossy(&request.key).into_owned();
        let trusted = is_trusted(&call.peer);
        let answer = match self.volfile(&key, &request.xdata, trusted).await {
            Ok((text, located)) => {
                tracing::info!("{} was given the volfile {key} ({})", call.peer.address(), located.file);
                let mut xdata = OldDict::new();
                let servers = self.other_servers();
                if !servers.is_empty() {
                    xdata.set_str("cluster.brick-vol-servers", &servers);
                }
                if let Some(pid_file) = located.pid_file {
                    xdata.set_str("pidfile", &pid_file);
                }
                GetspecRsp {
                    op_ret: i32::try_from(text.len()).unwrap_or(i32::MAX),
                    op_errno: 0,
                    spec: text.into(),
                    xdata,
                }
            }
            Err((op_ret, op_errno)) => {
                tracing::warn!(
                    "{} was refused the volfile {key}: error {op_errno}",
                    call.peer.address()
                );
                GetspecRsp {
                    op_ret,
                    op_errno,
                    ..GetspecRsp::default()
                }
            }
        };
        reply(&answer)
    }

    /// The other servers that are connected now, for clients whose server goes away: "w2:24007 w3:24007 ".
    fn other_servers(&self) -> String {
        let daemon = &self.0;
        let peers = daemon.other_peers().into_iter();
        let connected = peers.filter(|peer| daemon.cluster().connected(peer.uuid));
        connected
            .map(|peer| format!("{}:{} ", daemon.peer_name(peer.uuid), peer.port))
            .collect()
    }

    async fn volfile(&self, key: &str, xdata: &OldDict, trusted: bool) -> Result<(String, Located), (i32, i32)> {
        let (least, most) = op_versions(xdata)?;
        let name = key.strip_prefix('/').unwrap_or(key);
        if let Some(volume) = self.0.volume(name) {
            let needed = volume.op_versions().1;
            if needed > most || needed < least {
                return Err((-1, libc::EOPNOTSUPP));
            }
        }
        if key.len() >= MAX_KEY {
            return Err((-1, libc::ENAMETOOLONG));
        }
        for located in self.locate(key, trusted) {
            let (store, at) = (self.0.store().clone(), located.clone());
            let read = rt::blocking(move || store.load_volfile(&at.volume, &at.file)).await;
            match read {
                Ok(Ok(Some(text))) => return Ok((text, located)),
                Ok(Ok(None)) => {}
                Ok(Err(error)) => {
                    tracing::error!("{error}");
                    return Err((-1, libc::EIO));
                }
                Err(error) => {
                    tracing::error!("the helper thread failed: {error}");
                    return Err((-1, libc::EIO));
                }
            }
        }
        Err((-1, libc::ENOENT))
    }

    /// The files that a key may mean, the first that exists counts. A file is always one in the directory of a volume
    /// that exists.
    fn locate(&self, key: &str, trusted: bool) -> Vec<Located> {
        if let Some((_, volume)) = key.split_once("shd/") {
            if self.0.volume(volume).is_none() {
                return Vec::new();
            }
            let pid_file = self.0.store().paths().shd_pid(volume).to_string_lossy().into_owned();
            let file = format!("{volume}-shd.vol");
            return vec![Located {
                volume: volume.into(),
                file,
                pid_file: Some(pid_file),
            }];
        }
        let name = key.strip_prefix('/').unwrap_or(key);
        let before_dot = name.split('.').next().unwrap_or(name);
        let Some(volume) = [name, before_dot].into_iter().find(|n| self.0.volume(n).is_some()) else {
            return Vec::new();
        };
        if name.contains('/') {
            return Vec::new();
        }
        let prefix = if trusted { "trusted-" } else { "" };
        let transport = if name.contains('.') { "" } else { ".tcp" };
        let located = |file: String| Located {
            volume: volume.into(),
            file,
            pid_file: None,
        };
        vec![
            located(format!("{name}.vol")),
            located(format!("{prefix}{name}{transport}-fuse.vol")),
        ]
    }

    fn volume_info(&self, call: &Call) -> Result<Bytes, Refusal> {
        let request: GetVolumeInfoReq = arguments(call)?;
        let name = request.dict.get_str("volname").unwrap_or("");
        reply(&match self.0.volume(name) {
            Some(volume) => GetVolumeInfoRsp {
                dict: OldDict::new().with_str("volume_id", &volume.id.to_string()),
                ..GetVolumeInfoRsp::default()
            },
            None => GetVolumeInfoRsp {
                op_ret: -1,
                op_errno: libc::EINVAL,
                op_errstr: OpError::no_volume(name).text.into(),
                dict: OldDict::null(),
            },
        })
    }
}

/// The op-versions a client supports.
fn op_versions(xdata: &OldDict) -> Result<(u32, u32), (i32, i32)> {
    if xdata.is_null() {
        // A client so old that it does not say.
        return Err((-1, libc::EOPNOTSUPP));
    }
    let version = |key: &str| xdata.get_u32(key).ok_or((-2, libc::ENOENT));
    Ok((version("min-op-version")?, version("max-op-version")?))
}

/// Whether a peer may have the credentials of trusted clients: it is a process of this node.
fn is_trusted(peer: &PeerHandle) -> bool {
    match peer.address() {
        Address::Unix(_) => true,
        Address::Tcp(address) => is_local_address(address.ip()),
    }
}

impl Program for Handshake {
    fn id(&self) -> ProgramId {
        id(program::HANDSHAKE_MGMT)
    }

    fn name(&self) -> &'static str {
        program::HANDSHAKE_MGMT.name
    }

    fn call(self: Rc<Self>, call: Call) -> LocalBoxFuture<'static, Result<Bytes, Refusal>> {
        Box::pin(async move {
            match Proc::from_u32(call.procedure) {
                Some(Proc::Getspec) => self.getspec(&call).await,
                Some(Proc::GetVolumeInfo) => self.volume_info(&call),
                _ => Err(Refusal::ProcUnavail),
            }
        })
    }
}
