//! The brick operations the management daemon asks of a self-heal daemon (wire-protocol.md 2.6).

use std::rc::Rc;

use bytes::Bytes;
use datapath::exec::WallTime;
use datapath::replicate::heal::{CrawlKind, CrawlRecord, HealCommand};
use datapath::wire::brickop::{BrickOpReq, BrickOpRsp, Proc};
use datapath::wire::{OldDict, Xdr};
use futures_util::future::{FutureExt, LocalBoxFuture};

use super::Daemon;
use super::healer::Healer;
use crate::process::log::Timestamp;
use crate::rpc::{Call, Program, ProgramId, Refusal};

/// `xl-op`: the heal operations of the command line (wire-protocol.md 2.7).
mod op {
    pub(super) const INDEX: i64 = 1;
    pub(super) const FULL: i64 = 2;
    pub(super) const STATISTICS: i64 = 7;
    pub(super) const HEAL_COUNT: i64 = 8;
    pub(super) const HEAL_COUNT_REPLICA: i64 = 9;
}

/// Most replica sets of one request that are looked at.
const MAX_SETS: i64 = 1024;

/// The program.
pub(super) struct ShdOps(pub(super) Rc<Daemon>);

impl Program for ShdOps {
    fn id(&self) -> ProgramId {
        ProgramId::BRICK_OP
    }

    fn name(&self) -> &'static str {
        "brick operations"
    }

    fn call(self: Rc<Self>, call: Call) -> LocalBoxFuture<'static, Result<Bytes, Refusal>> {
        async move {
            let request = BrickOpReq::from_bytes(&call.args).map_err(|_| Refusal::GarbageArgs)?;
            let name = String::from_utf8_lossy(&request.name).into_owned();
            let reply = match call.procedure {
                n if n == Proc::SvcAttach as u32 => {
                    self.0
                        .attach(&name, request.dict.get_str("pidfile").map(Into::into))
                        .await
                }
                n if n == Proc::SvcDetach as u32 => self.0.detach(&name).await,
                n if n == Proc::Terminate as u32 => {
                    self.0.terminate.notify_one();
                    Ok(OldDict::null())
                }
                // Nothing is counted here; an empty table is the truth.
                n if n == Proc::Status as u32 || n == Proc::NodeStatus as u32 => Ok(OldDict::new()),
                n if n == Proc::XlatorOp as u32 => match request.input_dict() {
                    Ok(input) => self.translator(&input).await,
                    Err(e) => Err(e.to_string()),
                },
                n => Err(format!("brick operation {n} is not one of the self-heal daemon")),
            };
            Ok(match reply {
                Ok(output) => BrickOpRsp::success(&output),
                Err(why) => {
                    tracing::warn!("operation {} for '{name}' failed: {why}", call.procedure);
                    BrickOpRsp::failure(libc::EINVAL, why)
                }
            }
            .to_bytes())
        }
        .boxed_local()
    }
}

impl ShdOps {
    /// A heal operation on each replica set that the request names.
    async fn translator(&self, input: &OldDict) -> Result<OldDict, String> {
        let wanted = input
            .get_i64("xl-op")
            .or_else(|| input.get_i64("heal-op"))
            .ok_or("no xl-op")?;
        let mut output = OldDict::new();
        for i in 0..input.get_i64("count").unwrap_or(0).clamp(0, MAX_SETS) {
            let name = input.get_str(&format!("xl-{i}")).ok_or_else(|| format!("no xl-{i}"))?;
            let index = input.get_i64(name).unwrap_or(i);
            let healer = self
                .0
                .healer_of(name)
                .ok_or_else(|| format!("'{name}' is not healed by this daemon"))?;
            operate(&healer, wanted, index, &mut output).await?;
        }
        Ok(output)
    }
}

/// One operation on one replica set. Keys of the answer are `SET-CHILD-what`.
async fn operate(healer: &Healer, wanted: i64, set: i64, output: &mut OldDict) -> Result<(), String> {
    match wanted {
        op::INDEX => launch(healer, HealCommand::Index, set, output).await,
        op::FULL => launch(healer, HealCommand::Full, set, output).await,
        op::HEAL_COUNT | op::HEAL_COUNT_REPLICA => {
            for (child, count) in healer.counts().await.into_iter().enumerate() {
                match count {
                    Some(count) => output.set_int(format!("{set}-{child}-hardlinks"), count),
                    None => output.set_str(format!("{set}-{child}-status"), "Brick is not connected"),
                };
            }
            Ok(())
        }
        op::STATISTICS => {
            for (child, crawls) in healer.history().await.iter().enumerate() {
                statistics(set, child, crawls, output);
            }
            Ok(())
        }
        other => Err(format!("heal operation {other} is not one of the self-heal daemon")),
    }
}

async fn launch(healer: &Healer, command: HealCommand, set: i64, output: &mut OldDict) -> Result<(), String> {
    let taken = healer.heal(command).await;
    let up = healer.up().await;
    for (child, brick) in healer.spec().bricks.iter().enumerate() {
        let status = match (brick.local, up.get(child)) {
            (_, None | Some(false)) => "Brick is not connected",
            (false, _) => "Brick is remote",
            (true, _) if taken => "Started self-heal",
            (true, _) => "Self-heal is disabled",
        };
        output.set_str(format!("{set}-{child}-status"), status);
    }
    if taken {
        Ok(())
    } else {
        Err("no brick of this node can be crawled".to_owned())
    }
}

fn statistics(set: i64, child: usize, crawls: &[CrawlRecord], output: &mut OldDict) {
    output.set_int(format!("statistics-{set}-{child}-count"), crawls.len() as u64);
    for (n, crawl) in crawls.iter().enumerate() {
        let kind = match crawl.kind {
            CrawlKind::Index => "INDEX",
            CrawlKind::Full => "FULL",
        };
        let at = |what: &str| format!("statistics_{what}-{set}-{child}-{n}");
        // With the line break that C's ctime gives: GlusterFS's command line prints the value as it is.
        let time = |at: WallTime| format!("{}\n", Timestamp::from_seconds(at.sec).to_c_time());
        output.set_int(at("healed_cnt"), crawl.summary.healed);
        output.set_int(at("sb_cnt"), crawl.summary.split_brain);
        output.set_int(at("heal_failed_cnt"), crawl.summary.failed);
        output.set_str(at("crawl_type"), kind);
        output.set_str(at("strt_time"), &time(crawl.started));
        output.set_str(at("end_time"), &crawl.ended.map(time).unwrap_or_default());
        output.set_int(at("inprogress"), i32::from(crawl.ended.is_none()));
    }
}
