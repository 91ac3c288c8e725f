//! Carrying a command out: request, reply, what is printed, the exit code.

use std::io::Write as _;
use std::path::Path;

use datapath::wire::OldDict;
use datapath::wire::cli::Proc;

use super::create::CreateArgs;
use super::daemon::{Daemon, NoAnswer, Reply};
use super::heal::{self, InfoKind};
use super::options::Options;
use super::words::{Command, HealOp, PEER_COMMANDS, Pattern, StatusKind, StatusOf, VOLUME_COMMANDS, WordError};
use super::xml::Xml;
use super::{ask, heal_source, info, peer, status};

/// `GF_CLI_STATUS_VOL` and `GF_CLI_STATUS_ALL`, and the restrictors (wire-protocol.md 2.7).
const STATUS_ONE: u32 = 256;
const STATUS_ALL: u32 = 512;
const STATUS_BRICK: u32 = 1024;
const STATUS_SHD: u32 = 4096;

/// What a command leaves on the terminal.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) code: i32,
}

impl Answer {
    pub(super) fn out(text: impl Into<String>) -> Answer {
        Answer {
            stdout: text.into(),
            ..Answer::default()
        }
    }

    pub(super) fn err(text: impl Into<String>) -> Answer {
        Answer {
            stderr: text.into(),
            code: 1,
            ..Answer::default()
        }
    }

    pub(super) fn print(&self) {
        // A terminal that has gone away cannot be told about it.
        let _ = std::io::stdout().write_all(self.stdout.as_bytes());
        let _ = std::io::stdout().flush();
        let _ = std::io::stderr().write_all(self.stderr.as_bytes());
    }
}

type Result<T> = std::result::Result<T, NoAnswer>;

pub(super) fn global_help() -> String {
    let lines = [
        " peer help                - display help for peer commands",
        " volume help              - display help for volume commands",
    ];
    format!("{}\n\n", lines.join("\n"))
}

pub(super) fn topic_help(title: &str, patterns: &[&Pattern]) -> String {
    let rule = "=".repeat(title.len() + 1);
    let lines: Vec<String> = patterns
        .iter()
        .map(|p| format!("{} - {}", p.spelling, p.help))
        .collect();
    format!("\n{title}\n{rule}\n\n{}\n\n\n", lines.join("\n"))
}

/// What is printed about words that are no command.
pub(super) fn word_error(error: &WordError) -> Answer {
    let usage = "\n Usage: gluster [options] <help> <peer> <pool> <volume>\n Options:\n --help  Shows the help \
                 information\n --version  Shows the version\n --print-logdir  Shows the log directory\n \
                 --print-statedumpdir Shows the state dump directory\n\n";
    match error {
        WordError::Unrecognized { word, position } => Answer {
            stdout: format!("unrecognized word: {word} (position {position})\n{usage}"),
            code: 1,
            ..Answer::default()
        },
        WordError::Incomplete => Answer {
            stdout: format!("unrecognized command\n{usage}"),
            code: 1,
            ..Answer::default()
        },
        WordError::Usage { spelling, message } => {
            let message = message.as_ref().map(|m| format!("{m}\n")).unwrap_or_default();
            Answer::err(format!("{message}\nUsage:\n{spelling}\n\n"))
        }
        WordError::Host { spelling, host } => {
            Answer::err(format!("\nUsage:\n{spelling}\n\n{host} is an invalid address\n"))
        }
        WordError::Refused(why) => Answer::err(format!("{why}\n")),
        WordError::Unsupported(command) => Answer::err(format!("{command}: not supported by this version\n")),
    }
}

/// The option that is unknown, as GlusterFS says it.
pub(super) fn option_error(option: &str) -> Answer {
    let Answer { stdout, .. } = word_error(&WordError::Incomplete);
    let usage = stdout.trim_start_matches("unrecognized command\n");
    Answer {
        stdout: format!("unrecognized option {option}\n{usage}"),
        code: 255,
        ..Answer::default()
    }
}

/// Carries `command` out.
pub(super) async fn run(command: Command, options: &Options) -> Answer {
    match command {
        Command::Help => return Answer::out(format!("{}\n", global_help())),
        Command::VolumeHelp => return Answer::out(topic_help("gluster volume commands", VOLUME_COMMANDS)),
        Command::PeerHelp => return Answer::out(topic_help("gluster peer commands", PEER_COMMANDS)),
        _ => {}
    }
    if let Some(refusal) = confirm(&command, options) {
        return refusal;
    }
    match talk(command, options).await {
        Ok(answer) => answer,
        Err(NoAnswer::Unreachable) => Answer {
            stdout: "Connection failed. Please check if gluster daemon is operational.\n".to_owned(),
            code: 1,
            ..Answer::default()
        },
        Err(NoAnswer::Failed(why)) => Answer::err(format!("Error : {why}\n")),
    }
}

const SPLIT_BRAIN_QUESTION: &str = "Replica 2 volumes are prone to split-brain. Use Arbiter or Replica 3 to avoid \
    this. See: http://docs.gluster.org/en/latest/Administrator-Guide/Split-brain-and-ways-to-deal-with-it/.\nDo you still \
    want to continue?\n";

/// Asks before commands that take data away; `Some` is the answer of a user who does not want to.
fn confirm(command: &Command, options: &Options) -> Option<Answer> {
    let question = match command {
        _ if options.script => return None,
        Command::Stop { .. } => "Stopping volume will make its data inaccessible. Do you want to continue?",
        Command::Delete { .. } => {
            "Deleting volume will erase all information about the volume. Do you want to continue?"
        }
        Command::PeerDetach { .. } => {
            "All clients mounted through the peer which is getting detached need to be remounted using one of the \
             other active peers in the trusted storage pool to ensure client gets notification on any changes done on \
             the gluster configuration and if the same has been done do you want to proceed?"
        }
        Command::Bricks(change) if change.question().is_some() => change.question().unwrap_or_default(),
        Command::Bricks(change) if change.is_prone_to_split_brain() => SPLIT_BRAIN_QUESTION,
        Command::Create(args) if args.is_prone_to_split_brain() && !args.force => SPLIT_BRAIN_QUESTION,
        _ => return None,
    };
    if ask::yes(question) {
        return None;
    }
    Some(match command {
        Command::Create(_) => word_error(&WordError::usage(&super::words::CREATE)),
        Command::Bricks(change) if change.is_prone_to_split_brain() => word_error(&WordError::usage(change.pattern())),
        _ => Answer::default(),
    })
}

async fn talk(command: Command, options: &Options) -> Result<Answer> {
    let daemon = Daemon::connect(&options.socket, options.timeout, options.words.join(" ")).await?;
    let xml = options.xml;
    match command {
        Command::PeerStatus => friends(&daemon, false, xml).await,
        Command::PoolList => friends(&daemon, true, xml).await,
        Command::PeerProbe { host } => {
            let dict = OldDict::new().with_str("hostname", &host).with_str("port", "24007");
            Ok(peer_answer("probe", &daemon.call(Proc::Probe, dict).await?, &host, xml))
        }
        Command::PeerDetach { host, force } => {
            let dict = OldDict::new().with_str("hostname", &host).with_str("port", "24007");
            let dict = dict.with_int("flags", u32::from(force));
            Ok(peer_answer(
                "detach",
                &daemon.call(Proc::Deprobe, dict).await?,
                &host,
                xml,
            ))
        }
        Command::Create(args) => create(&daemon, &args, xml).await,
        Command::Bricks(change) => {
            let reply = daemon.call(change.procedure(), change.to_dict()).await?;
            Ok(change.answer(&reply, xml))
        }
        Command::Statedump { volume, options } => statedump(&daemon, &volume, &options).await,
        Command::Start { volume, force } => {
            let dict = OldDict::new()
                .with_str("volname", &volume)
                .with_int("flags", u32::from(force));
            Ok(volume_answer(
                "start",
                "volStart",
                &volume,
                &daemon.call(Proc::StartVolume, dict).await?,
                xml,
            ))
        }
        Command::Stop { volume, force } => {
            let dict = OldDict::new()
                .with_str("volname", &volume)
                .with_int("flags", u32::from(force));
            Ok(volume_answer(
                "stop",
                "volStop",
                &volume,
                &daemon.call(Proc::StopVolume, dict).await?,
                xml,
            ))
        }
        Command::Delete { volume } => {
            let dict = OldDict::new().with_str("volname", &volume);
            Ok(volume_answer(
                "delete",
                "volDelete",
                &volume,
                &daemon.call(Proc::DeleteVolume, dict).await?,
                xml,
            ))
        }
        Command::Info { volume } => volume_info(&daemon, volume.as_deref(), xml).await,
        Command::List => list(&daemon, xml).await,
        Command::Status { volume, of, kind } => match volume {
            Some(volume) => one_status(&daemon, &volume, &of, kind, xml).await,
            None => all_status(&daemon, kind, xml).await,
        },
        Command::Set { volume, pairs } => set(&daemon, &volume, &pairs, xml).await,
        Command::SetGroup { volume, group } => match read_group(&options.workdir, &group) {
            Ok(pairs) => set(&daemon, &volume, &pairs, xml).await,
            Err(message) => Ok(Answer::err(message)),
        },
        Command::SetHelp => set_help(&daemon).await,
        Command::Get { volume, key } => get(&daemon, &volume, &key, xml).await,
        Command::Reset { volume, key, force } => reset(&daemon, &volume, &key, force, xml).await,
        Command::Heal { volume, op } => volume_heal(&daemon, &volume, &op, options).await,
        Command::Help | Command::VolumeHelp | Command::PeerHelp => Ok(Answer::default()),
    }
}

async fn statedump(daemon: &Daemon, volume: &str, options: &[String]) -> Result<Answer> {
    let dict = OldDict::new()
        .with_str("volname", volume)
        .with_str("options", &options.join(" "))
        .with_int("option_cnt", options.len() as u64);
    let reply = daemon.call(Proc::StatedumpVolume, dict).await?;
    Ok(match reply.ok() {
        true => Answer::out("volume statedump: success\n"),
        false => Answer::err(failed("volume statedump", &reply.op_errstr)),
    })
}

async fn friends(daemon: &Daemon, pool: bool, xml: bool) -> Result<Answer> {
    let reply = daemon.friends(pool).await?;
    Ok(Answer::out(match (xml, pool) {
        (true, _) => peer::xml(&reply.dict),
        (false, true) => peer::pool_text(&reply.dict),
        (false, false) => peer::status_text(&reply.dict),
    }))
}

/// op_errno of a probe that needed nothing (`GF_PROBE_...`).
const PROBE_LOCALHOST: i32 = 1;
const PROBE_FRIEND: i32 = 2;

fn peer_answer(verb: &str, reply: &Reply, host: &str, xml: bool) -> Answer {
    let note = match (reply.ok(), verb, reply.op_errno) {
        (true, "probe", PROBE_LOCALHOST) => "Probe on localhost not needed".to_owned(),
        (true, "probe", PROBE_FRIEND) => format!("Host {host} port 24007 already in peer list"),
        (true, ..) => reply.op_errstr.clone(),
        (false, ..) => String::new(),
    };
    if xml {
        let errstr = if reply.ok() { "" } else { &reply.op_errstr };
        let mut document = Xml::with_result(reply.op_ret, reply.op_errno, errstr);
        if reply.ok() {
            document.leaf("output", if note.is_empty() { "success" } else { &note });
        }
        return Answer::out(document.finish());
    }
    match (reply.ok(), note.is_empty()) {
        (true, true) => Answer::out(format!("peer {verb}: success\n")),
        (true, false) => Answer::out(format!("peer {verb}: {note}\n")),
        (false, _) => Answer::err(failed(&format!("peer {verb}"), &reply.op_errstr)),
    }
}

fn failed(what: &str, why: &str) -> String {
    if why.is_empty() {
        format!("{what}: failed\n")
    } else {
        format!("{what}: failed: {why}\n")
    }
}

/// Start, stop, delete: a line of text, or a document that names the volume.
fn volume_answer(verb: &str, element: &'static str, volume: &str, reply: &Reply, xml: bool) -> Answer {
    if xml {
        return Answer::out(volume_xml(element, volume, reply, reply.dict.get_str("vol-id")));
    }
    match reply.ok() {
        true => Answer::out(format!("volume {verb}: {volume}: success\n")),
        false => Answer::err(failed(&format!("volume {verb}: {volume}"), &reply.op_errstr)),
    }
}

fn volume_xml(element: &'static str, volume: &str, reply: &Reply, id: Option<&str>) -> String {
    let mut document = Xml::with_result(reply.op_ret, reply.op_errno, &reply.op_errstr);
    if reply.ok() {
        document
            .open(element)
            .open("volume")
            .leaf("name", volume)
            .leaf("id", id.unwrap_or_default());
    }
    document.finish()
}

async fn create(daemon: &Daemon, args: &CreateArgs, xml: bool) -> Result<Answer> {
    let reply = daemon.call(Proc::CreateVolume, args.to_dict()).await?;
    if xml {
        let id = reply.dict.get_str("volume-id");
        return Ok(Answer::out(volume_xml("volCreate", &args.volume, &reply, id)));
    }
    Ok(match reply.ok() {
        true => Answer::out(format!(
            "volume create: {}: success: please start the volume to access data\n",
            args.volume
        )),
        false => Answer::err(failed(&format!("volume create: {}", args.volume), &reply.op_errstr)),
    })
}

/// What of a volume `GET_VOLUME` is asked for (wire-protocol.md 2.7).
const GET_ONE: u32 = 2;
const GET_NEXT: u32 = 3;
/// Bound of the loop over all volumes, against a daemon that never ends.
const MAX_VOLUMES: usize = 1 << 12;

async fn one_volume(daemon: &Daemon, flags: u32, volume: &str) -> Result<Option<Reply>> {
    let mut dict = OldDict::new().with_int("flags", flags);
    if !volume.is_empty() {
        dict.set_str("volname", volume);
    }
    let reply = daemon.call(Proc::GetVolume, dict).await?;
    Ok((reply.ok() && info::count(&reply.dict, "count") > 0).then_some(reply))
}

/// The volumes one after the other, as GlusterFS's command asks for them.
async fn all_volumes(daemon: &Daemon) -> Result<Vec<Reply>> {
    let mut replies: Vec<Reply> = Vec::new();
    let mut last = String::new();
    while replies.len() < MAX_VOLUMES {
        let Some(reply) = one_volume(daemon, GET_NEXT, &last).await? else {
            break;
        };
        let name = reply.dict.get_str("volume0.name").unwrap_or_default().to_owned();
        if name == last {
            break;
        }
        last = name;
        replies.push(reply);
    }
    Ok(replies)
}

async fn volume_info(daemon: &Daemon, volume: Option<&str>, xml: bool) -> Result<Answer> {
    let replies = match volume {
        Some(volume) => one_volume(daemon, GET_ONE, volume).await?.into_iter().collect(),
        None => all_volumes(daemon).await?,
    };
    let dicts: Vec<&OldDict> = replies.iter().map(|reply| &reply.dict).collect();
    if xml {
        // Without volumes the listing of all of them is no failure.
        let (ret, errno, text) = match volume {
            Some(_) if dicts.is_empty() => (-1, 30_806, "Volume does not exist"),
            _ => (0, 0, ""),
        };
        return Ok(Answer::out(info::info_xml(&dicts, ret, errno, text)));
    }
    Ok(match (dicts.is_empty(), volume) {
        (false, _) => Answer::out(info::info_text(&dicts)),
        (true, Some(volume)) => Answer::err(format!("Volume {volume} does not exist\n")),
        (true, None) => Answer {
            stderr: "No volumes present\n".to_owned(),
            ..Answer::default()
        },
    })
}

async fn list(daemon: &Daemon, xml: bool) -> Result<Answer> {
    let reply = daemon.call(Proc::ListVolume, OldDict::null()).await?;
    if !reply.ok() {
        return Ok(Answer::err(failed("volume list", &reply.op_errstr)));
    }
    if xml {
        return Ok(Answer::out(info::list_xml(&reply.dict)));
    }
    let names = info::names(&reply.dict);
    if names.is_empty() {
        return Ok(Answer {
            stderr: "No volumes present in cluster\n".to_owned(),
            ..Answer::default()
        });
    }
    Ok(Answer::out(format!("{}\n", names.join("\n"))))
}

async fn status_reply(daemon: &Daemon, volume: &str, of: &StatusOf, kind: StatusKind) -> Result<Reply> {
    let mut dict = OldDict::new().with_str("volname", volume);
    let restrictor = match of {
        StatusOf::Everything => 0,
        StatusOf::SelfHealDaemon => STATUS_SHD,
        StatusOf::Brick(brick) => {
            dict.set_str("brick", brick);
            STATUS_BRICK
        }
    };
    dict.set_int("cmd", STATUS_ONE | restrictor | kind.flag());
    daemon.call(Proc::StatusVolume, dict).await
}

async fn one_status(daemon: &Daemon, volume: &str, of: &StatusOf, kind: StatusKind, xml: bool) -> Result<Answer> {
    let reply = status_reply(daemon, volume, of, kind).await?;
    let whole = *of == StatusOf::Everything;
    if xml {
        let mut document = Xml::with_result(reply.op_ret, reply.op_errno, &reply.op_errstr);
        if reply.ok() {
            document.open("volStatus").open("volumes");
            status::write_xml(&mut document, &reply.dict, volume, kind, whole);
        } else {
            document.leaf("cliOp", "volStatus").leaf("output", &reply.op_errstr);
        }
        return Ok(Answer::out(document.finish()));
    }
    Ok(match reply.ok() {
        true => Answer::out(status::text(&reply.dict, volume, kind, whole)),
        false if reply.op_errstr.is_empty() => {
            Answer::err(format!("Commit failed. Unable to get the status of volume {volume}\n"))
        }
        false => Answer::err(format!("{}\n", reply.op_errstr)),
    })
}

async fn all_status(daemon: &Daemon, kind: StatusKind, xml: bool) -> Result<Answer> {
    // The names come from the status request itself: the daemon counts only what it would tell about.
    let reply = daemon
        .call(
            Proc::StatusVolume,
            OldDict::new().with_int("cmd", STATUS_ALL | kind.flag()),
        )
        .await?;
    let mut names: Vec<String> = (0..info::count(&reply.dict, "vol_count"))
        .filter_map(|i| reply.dict.get_str(&format!("vol{i}")).map(str::to_owned))
        .collect();
    if names.is_empty() {
        let listed = daemon.call(Proc::ListVolume, OldDict::null()).await?;
        names = info::names(&listed.dict).into_iter().map(str::to_owned).collect();
    }
    let mut document = Xml::with_result(0, 0, "");
    document.open("volStatus").open("volumes");
    let mut answer = Answer::default();
    for name in &names {
        let reply = status_reply(daemon, name, &StatusOf::Everything, kind).await?;
        if reply.ok() {
            status::write_xml(&mut document, &reply.dict, name, kind, true);
            answer.stdout.push_str(&status::text(&reply.dict, name, kind, true));
        } else {
            answer.stdout.push_str(" \n");
            answer.stderr.push_str(&format!("{}\n", reply.op_errstr));
        }
    }
    if xml {
        return Ok(Answer::out(document.finish()));
    }
    if names.is_empty() {
        answer.stderr.push_str("No volumes present\n");
    }
    Ok(answer)
}

/// Reads an option profile: one `key=value` a line.
fn read_group(workdir: &Path, group: &str) -> std::result::Result<Vec<(String, String)>, String> {
    if group.contains('/') {
        return Err(format!("'{group}' is not the name of a group\n"));
    }
    let path = workdir.join("groups").join(group);
    let text = std::fs::read_to_string(&path).map_err(|e| {
        format!(
            "Unable to open file '{}'. Error: {}\n",
            path.display(),
            datapath::errno::Errno::from(e)
        )
    })?;
    let lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| match line.split_once('=') {
            Some((key, value)) => Ok((key.trim().to_owned(), value.trim().to_owned())),
            None => Err(format!("'{line}' in {} is not of the form key=value\n", path.display())),
        })
        .collect()
}

async fn set(daemon: &Daemon, volume: &str, pairs: &[(String, String)], xml: bool) -> Result<Answer> {
    let mut dict = OldDict::new()
        .with_str("volname", volume)
        .with_int("count", 2 * pairs.len() as u64);
    for (i, (key, value)) in pairs.iter().enumerate() {
        dict.set_str(format!("key{}", i + 1), key);
        dict.set_str(format!("value{}", i + 1), value);
    }
    let reply = daemon.call(Proc::SetVolume, dict).await?;
    Ok(option_answer(
        "set",
        "volSet",
        ("Set volume successful", "Set volume unsuccessful"),
        "success",
        &reply,
        xml,
    ))
}

async fn set_help(daemon: &Daemon) -> Result<Answer> {
    let dict = OldDict::new().with_int("count", 1).with_str("key1", "help");
    let reply = daemon.call(Proc::SetVolume, dict).await?;
    match reply.dict.get_str("help-str") {
        Some(help) if reply.ok() => Ok(Answer::out(format!("{help}\n"))),
        _ => Ok(Answer::err(failed("volume set", &reply.op_errstr))),
    }
}

async fn reset(daemon: &Daemon, volume: &str, key: &str, force: bool, xml: bool) -> Result<Answer> {
    let dict = OldDict::new()
        .with_str("volname", volume)
        .with_str("key", key)
        .with_int("force", u32::from(force));
    let reply = daemon.call(Proc::ResetVolume, dict).await?;
    let said = ("reset volume successful", reply.op_errstr.as_str());
    Ok(option_answer(
        "reset",
        "volReset",
        said,
        "success: reset volume successful",
        &reply,
        xml,
    ))
}

fn option_answer(
    verb: &str,
    element: &str,
    (good, bad): (&str, &str),
    success: &str,
    reply: &Reply,
    xml: bool,
) -> Answer {
    if xml {
        let mut document = Xml::with_result(reply.op_ret, reply.op_errno, &reply.op_errstr);
        document
            .leaf("cliOp", element)
            .leaf("output", if reply.ok() { good } else { bad });
        return Answer::out(document.finish());
    }
    match reply.ok() {
        true => Answer::out(format!("volume {verb}: {success}\n")),
        false => Answer::err(failed(&format!("volume {verb}"), &reply.op_errstr)),
    }
}

async fn get(daemon: &Daemon, volume: &str, key: &str, xml: bool) -> Result<Answer> {
    let dict = OldDict::new().with_str("volname", volume).with_str("key", key);
    let reply = daemon.call(Proc::GetVolOpt, dict).await?;
    if reply.ok() {
        return Ok(Answer::out(if xml {
            info::get_xml(&reply.dict)
        } else {
            info::get_text(&reply.dict)
        }));
    }
    let message = failed("volume get option", &reply.op_errstr);
    if xml {
        let mut document = Xml::with_result(reply.op_ret, reply.op_errno, &reply.op_errstr);
        document.leaf("cliOp", "volGetopts").leaf("output", message.trim_end());
        return Ok(Answer {
            stdout: document.finish(),
            code: 1,
            ..Answer::default()
        });
    }
    Ok(Answer::err(message))
}

async fn volume_heal(daemon: &Daemon, volume: &str, op: &HealOp, options: &Options) -> Result<Answer> {
    if let Some(kind) = InfoKind::of(op) {
        return Ok(heal_info(daemon, volume, kind, options).await);
    }
    if matches!(
        op,
        HealOp::BiggerFile(_) | HealOp::LatestMtime(_) | HealOp::SourceBrick { .. }
    ) {
        let why = "Resolving split-brain is not supported by this version.\nVolume heal failed.\n";
        return Ok(Answer {
            stdout: why.to_owned(),
            code: 1,
            ..Answer::default()
        });
    }
    let mut dict = OldDict::new()
        .with_str("volname", volume)
        .with_int("heal-op", op.number());
    if let HealOp::HealCountReplica(brick) = op
        && let Some((host, path)) = brick.split_once(":/")
    {
        dict.set_str("per-replica-cmd-hostname", host);
        dict.set_str("per-replica-cmd-path", &format!("/{path}"));
    }
    let reply = daemon.call(Proc::HealVolume, dict).await?;
    if !reply.ok() {
        return Ok(Answer::err(heal::failure(op, volume, &reply.op_errstr)));
    }
    let mut answer = Answer::out(heal::success(op, volume));
    match op {
        HealOp::HealCount | HealOp::HealCountReplica(_) => match heal_source::fetch(daemon, volume, options).await {
            Ok(bricks) => answer.stdout.push_str(&heal::heal_count_text(&bricks)),
            Err(why) => return Ok(Answer::err(heal::failure(op, volume, &why.message))),
        },
        HealOp::Statistics => answer.stdout.push_str(&super::statistics::text(&reply.dict)),
        _ => {}
    }
    Ok(answer)
}

async fn heal_info(daemon: &Daemon, volume: &str, kind: InfoKind, options: &Options) -> Answer {
    match heal_source::fetch(daemon, volume, options).await {
        Ok(bricks) => Answer::out(if options.xml {
            heal::info_xml(&bricks, kind)
        } else {
            heal::info_text(&bricks, kind)
        }),
        Err(why) if options.xml => {
            let stdout = heal::info_failed_xml(why.errno.0, &why.message);
            Answer {
                stdout,
                code: why.exit_code(),
                ..Answer::default()
            }
        }
        Err(why) => {
            let stdout = format!("{}\nVolume heal failed.\n", why.message);
            Answer {
                stdout,
                code: why.exit_code(),
                ..Answer::default()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(op_ret: i32, op_errno: i32, text: &str) -> Reply {
        Reply {
            op_ret,
            op_errno,
            op_errstr: text.to_owned(),
            dict: OldDict::new().with_str("vol-id", "an-id"),
        }
    }

    #[test]
    fn lines_are_glusters() {
        let answer = volume_answer(
            "stop",
            "volStop",
            "v",
            &reply(-1, 0, "Volume v is not in the started state"),
            false,
        );
        assert_eq!(
            answer,
            Answer::err("volume stop: v: failed: Volume v is not in the started state\n")
        );
        let answer = volume_answer("stop", "volStop", "v", &reply(0, 0, ""), false);
        assert_eq!(answer, Answer::out("volume stop: v: success\n"));
        let answer = peer_answer("probe", &reply(0, PROBE_LOCALHOST, ""), "localhost", false);
        assert_eq!(answer, Answer::out("peer probe: Probe on localhost not needed\n"));
        let answer = peer_answer(
            "detach",
            &reply(-1, 2, "nosuch is not part of cluster"),
            "nosuch",
            false,
        );
        assert_eq!(
            answer,
            Answer::err("peer detach: failed: nosuch is not part of cluster\n")
        );
    }

    #[test]
    fn documents_are_glusters() {
        let head = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n<cliOutput>\n";
        let answer = volume_answer("start", "volStart", "v", &reply(0, 0, ""), true);
        let expected = format!(
            "{head}  <opRet>0</opRet>\n  <opErrno>0</opErrno>\n  <opErrstr/>\n  <volStart>\n    <volume>\n      \
             <name>v</name>\n      <id>an-id</id>\n    </volume>\n  </volStart>\n</cliOutput>\n"
        );
        assert_eq!(answer, Answer::out(expected));
        let answer = volume_answer(
            "start",
            "volStart",
            "v",
            &reply(-1, 30_800, "Volume v already started"),
            true,
        );
        let expected = format!(
            "{head}  <opRet>-1</opRet>\n  <opErrno>30800</opErrno>\n  <opErrstr>Volume v already started</opErrstr>\n\
             </cliOutput>\n"
        );
        assert_eq!(answer, Answer::out(expected));
    }

    #[test]
    fn wrong_words_print_what_gluster_prints() {
        let answer = word_error(&super::super::words::parse(&["volume", "foo"]).unwrap_err());
        assert!(
            answer
                .stdout
                .starts_with("unrecognized word: foo (position 1)\n\n Usage: gluster [options] <help>")
        );
        assert!(
            answer
                .stdout
                .ends_with(" --print-statedumpdir Shows the state dump directory\n\n")
        );
        assert_eq!((answer.stderr.as_str(), answer.code), ("", 1));
        let answer = word_error(&super::super::words::parse(&["volume", "delete"]).unwrap_err());
        assert_eq!(answer, Answer::err("\nUsage:\nvolume delete <VOLNAME>\n\n"));
        assert_eq!(option_error("--x").code, 255);
    }
}
