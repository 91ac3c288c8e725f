//! `volume add-brick`, `remove-brick`, `replace-brick` and `reset-brick`: their words, requests and answers.

use datapath::wire::OldDict;
use datapath::wire::cli::Proc;

use super::create::brick_words;
use super::daemon::Reply;
use super::run::Answer;
use super::words::{Pattern, WordError, pattern};
use super::xml::Xml;

pub(super) const ADD: Pattern = pattern(
    "volume add-brick <VOLNAME> [<replica> <COUNT> [arbiter <COUNT>]] <NEW-BRICK> ... [force]",
    "add brick to volume <VOLNAME>",
);
pub(super) const REMOVE: Pattern = pattern(
    "volume remove-brick <VOLNAME> [replica <COUNT>] <BRICK> ... <start|stop|status|commit|force>",
    "remove brick from volume <VOLNAME>",
);
pub(super) const REPLACE: Pattern = pattern(
    "volume replace-brick <VOLNAME> <SOURCE-BRICK> <NEW-BRICK> {commit force}",
    "replace-brick operations",
);
pub(super) const RESET: Pattern = pattern(
    "volume reset-brick <VOLNAME> <SOURCE-BRICK> {{start} | {<NEW-BRICK> commit}}",
    "reset-brick operations",
);

/// What happens to the bricks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Add,
    Remove,
    Replace,
    ResetStart,
    ResetCommit,
    ResetCommitForce,
}

/// A command that changes which bricks a volume has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BrickChange {
    pub(super) volume: String,
    pub(super) verb: Verb,
    /// The new replica count, if it is to change.
    pub(super) replicas: Option<u32>,
    /// The bricks in the order given; for replace and reset the old one first.
    pub(super) bricks: Vec<String>,
    pub(super) force: bool,
    /// `command` of a removal (wire-protocol.md 2.7).
    pub(super) step: Step,
}

/// The last word of `remove-brick`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Start = 1,
    Commit = 2,
    Stop = 3,
    Status = 4,
    Force = 5,
}

impl BrickChange {
    /// Replica 2 cannot tell a majority: GlusterFS asks first.
    pub(super) fn is_prone_to_split_brain(&self) -> bool {
        self.replicas == Some(2) && !self.force
    }

    /// The question before data is no longer reachable.
    pub(super) fn question(&self) -> Option<&'static str> {
        (self.verb == Verb::Remove && self.step == Step::Force).then_some(
            "Remove-brick force will not migrate files from the removed bricks, so they will no longer be available on \
             the volume.\nDo you want to continue?",
        )
    }

    pub(super) fn pattern(&self) -> &'static Pattern {
        match self.verb {
            Verb::Add => &ADD,
            Verb::Remove => &REMOVE,
            Verb::Replace => &REPLACE,
            Verb::ResetStart | Verb::ResetCommit | Verb::ResetCommitForce => &RESET,
        }
    }

    pub(super) fn procedure(&self) -> Proc {
        match self.verb {
            Verb::Add => Proc::AddBrick,
            Verb::Remove => Proc::RemoveBrick,
            Verb::Replace => Proc::ReplaceBrick,
            Verb::ResetStart | Verb::ResetCommit | Verb::ResetCommitForce => Proc::ResetBrick,
        }
    }

    /// The request (wire-protocol.md 2.7).
    pub(super) fn to_dict(&self) -> OldDict {
        let mut dict = OldDict::new().with_str("volname", &self.volume);
        if let Some(replicas) = self.replicas {
            dict.set_int("replica-count", replicas);
        }
        match self.verb {
            Verb::Add => {
                dict.set_str("bricks", &format!(" {} ", self.bricks.join(" ")));
                dict.set_int("count", self.bricks.len() as u64);
                dict.set_int("force", u32::from(self.force));
            }
            Verb::Remove => {
                dict.set_int("command", self.step as u32);
                for (index, brick) in self.bricks.iter().enumerate() {
                    dict.set_str(format!("brick{}", index + 1), brick);
                }
                dict.set_int("count", self.bricks.len() as u64);
            }
            _ => {
                for (key, brick) in ["src-brick", "dst-brick"].into_iter().zip(&self.bricks) {
                    dict.set_str(key, brick);
                }
                dict.set_str("operation", self.operation().0);
            }
        }
        dict
    }

    /// The operation of replace and reset: as the daemon wants it and as the user reads it.
    fn operation(&self) -> (&'static str, &'static str) {
        match self.verb {
            Verb::ResetStart => ("GF_RESET_OP_START", "reset-brick start"),
            Verb::ResetCommit => ("GF_RESET_OP_COMMIT", "reset-brick commit"),
            Verb::ResetCommitForce => ("GF_RESET_OP_COMMIT_FORCE", "reset-brick commit force"),
            _ => ("GF_REPLACE_OP_COMMIT_FORCE", "replace-brick commit force"),
        }
    }

    /// What is printed about the daemon's answer.
    pub(super) fn answer(&self, reply: &Reply, xml: bool) -> Answer {
        let said = |success: String, failure: String| match (reply.ok(), reply.op_errstr.is_empty()) {
            (true, _) => success,
            (false, true) => failure,
            (false, false) => reply.op_errstr.clone(),
        };
        match self.verb {
            Verb::Add => {
                let message = said("Add Brick successful".into(), "Add Brick unsuccessful".into());
                if xml {
                    let mut document = Xml::with_result(reply.op_ret, reply.op_errno, &reply.op_errstr);
                    document.leaf("cliOp", "volAddBrick").leaf("output", message);
                    return Answer::out(document.finish());
                }
                outcome(
                    reply,
                    "volume add-brick: success\n",
                    "volume add-brick",
                    &reply.op_errstr,
                )
            }
            Verb::Remove => {
                let step = match self.step {
                    Step::Start => "start",
                    Step::Commit => "commit",
                    Step::Force => "commit force",
                    Step::Stop | Step::Status => "unknown",
                };
                let message = said(
                    format!("Remove Brick {step} successful"),
                    format!("Remove Brick {step} unsuccessful"),
                );
                if xml {
                    let mut document = Xml::with_result(reply.op_ret, reply.op_errno, &message);
                    document.leaf("volRemoveBrick", "");
                    return Answer::out(document.finish());
                }
                let what = format!("volume remove-brick {step}");
                outcome(reply, &format!("{what}: success\n"), &what, &message)
            }
            _ => {
                let (_, operation) = self.operation();
                let message = said(
                    format!("{operation} operation successful"),
                    format!("{operation} operation failed"),
                );
                if xml {
                    return Answer::out(Xml::with_result(reply.op_ret, reply.op_errno, &message).finish());
                }
                let what = if self.verb == Verb::Replace {
                    "volume replace-brick"
                } else {
                    "volume reset-brick"
                };
                outcome(reply, &format!("{what}: success: {message}\n"), what, &message)
            }
        }
    }
}

fn outcome(reply: &Reply, success: &str, what: &str, why: &str) -> Answer {
    match reply.ok() {
        true => Answer::out(success),
        false => Answer::err(format!("{what}: failed: {why}\n")),
    }
}

fn replicas<'a, 'b>(
    words: &'a [&'b str],
    least: u32,
    complaint: &str,
    pattern: &'static Pattern,
) -> Result<(Option<u32>, &'a [&'b str]), WordError> {
    match words {
        ["replica", count, rest @ ..] => match count.parse() {
            Ok(count) if count >= least => Ok((Some(count), rest)),
            _ => Err(WordError::because(pattern, complaint)),
        },
        rest => Ok((None, rest)),
    }
}

/// Reads the words after `volume add-brick`.
pub(super) fn add(words: &[&str]) -> Result<BrickChange, WordError> {
    let [volume, rest @ ..] = words else {
        return Err(WordError::usage(&ADD));
    };
    let (replicas, rest) = replicas(rest, 2, "replica count should be greater than 1", &ADD)?;
    if let ["arbiter" | "thin-arbiter", ..] = rest {
        return Err(WordError::Unsupported("volume add-brick with an arbiter".into()));
    }
    let (force, bricks) = match rest {
        [bricks @ .., "force"] => (true, bricks),
        bricks => (false, bricks),
    };
    if bricks.is_empty() {
        return Err(WordError::usage(&ADD));
    }
    Ok(BrickChange {
        volume: (*volume).to_owned(),
        verb: Verb::Add,
        replicas,
        bricks: brick_words(bricks, &ADD)?,
        force,
        step: Step::Force,
    })
}

/// Reads the words after `volume remove-brick`.
pub(super) fn remove(words: &[&str]) -> Result<BrickChange, WordError> {
    let [volume, rest @ .., last] = words else {
        return Err(WordError::usage(&REMOVE));
    };
    let complaint = "replica count should be greater than 0 in case of remove-brick";
    let (replicas, bricks) = replicas(rest, 1, complaint, &REMOVE)?;
    let step = match *last {
        "start" => Step::Start,
        "commit" => Step::Commit,
        "stop" => Step::Stop,
        "status" => Step::Status,
        "force" => Step::Force,
        _ => return Err(WordError::usage(&REMOVE)),
    };
    if bricks.is_empty() {
        return Err(WordError::because(&REMOVE, "No bricks specified"));
    }
    let bricks = bricks
        .iter()
        .map(|brick| existing(brick, &REMOVE))
        .collect::<Result<Vec<_>, _>>()?;
    for (index, brick) in bricks.iter().enumerate() {
        if bricks.iter().take(index).any(|other| other == brick) {
            return Err(WordError::because(&REMOVE, format!("Duplicate bricks found {brick}")));
        }
    }
    Ok(BrickChange {
        volume: (*volume).to_owned(),
        verb: Verb::Remove,
        replicas,
        bricks,
        force: step == Step::Force,
        step,
    })
}

/// HOST:PATH of a brick that there is already: only its form is looked at.
fn existing(brick: &str, pattern: &'static Pattern) -> Result<String, WordError> {
    let parts = brick
        .rsplit_once(':')
        .filter(|(host, path)| !host.is_empty() && path.starts_with('/'));
    let Some((host, path)) = parts else {
        let message = format!("wrong brick type: {brick}, use <HOSTNAME>:<export-dir-abs-path>");
        return Err(WordError::because(pattern, message));
    };
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    Ok(format!("{host}:/{}", parts.join("/")))
}

/// Reads the words after `volume replace-brick`.
pub(super) fn replace(words: &[&str]) -> Result<BrickChange, WordError> {
    match words {
        [volume, old, new, "commit", "force"] => Ok(BrickChange {
            volume: (*volume).to_owned(),
            verb: Verb::Replace,
            replicas: None,
            bricks: vec![existing(old, &REPLACE)?, existing(new, &REPLACE)?],
            force: true,
            step: Step::Force,
        }),
        [_, _, _, one, two] => Err(WordError::because(
            &REPLACE,
            format!("Invalid option '{one}' '{two}' for replace-brick. Please enter valid replace-brick command"),
        )),
        _ => Err(WordError::usage(&REPLACE)),
    }
}

/// Reads the words after `volume reset-brick`.
pub(super) fn reset(words: &[&str]) -> Result<BrickChange, WordError> {
    let invalid = |option: String| {
        WordError::because(
            &RESET,
            format!("Invalid option '{option}' for reset-brick. Please enter valid reset-brick command"),
        )
    };
    let (volume, bricks, verb) = match words {
        [volume, brick, "start"] => (volume, vec![existing(brick, &RESET)?], Verb::ResetStart),
        [_, _, other] => return Err(invalid((*other).to_string())),
        [volume, old, new, "commit"] => {
            let bricks = vec![existing(old, &RESET)?, existing(new, &RESET)?];
            (volume, bricks, Verb::ResetCommit)
        }
        [_, _, _, other] => return Err(invalid((*other).to_string())),
        [volume, old, new, "commit", "force"] => {
            let bricks = vec![existing(old, &RESET)?, existing(new, &RESET)?];
            (volume, bricks, Verb::ResetCommitForce)
        }
        [_, _, _, one, two] => return Err(invalid(format!("{one} {two}"))),
        _ => return Err(WordError::usage(&RESET)),
    };
    Ok(BrickChange {
        volume: (*volume).to_owned(),
        verb,
        replicas: None,
        bricks,
        force: verb == Verb::ResetCommitForce,
        step: Step::Force,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<&str> {
        line.split_whitespace().collect()
    }

    fn message(result: Result<BrickChange, WordError>) -> String {
        match result {
            Err(WordError::Usage { message, .. }) => message.unwrap_or_default(),
            other => panic!("{other:?}"),
        }
    }

    fn reply(op_ret: i32, text: &str) -> Reply {
        Reply {
            op_ret,
            op_errno: if op_ret == 0 { 0 } else { 30_800 },
            op_errstr: text.to_owned(),
            dict: OldDict::new(),
        }
    }

    #[test]
    fn requests_are_glusters() {
        let add = add(&words("v replica 3 w3:/b//c force")).unwrap();
        let dict = add.to_dict();
        assert_eq!(dict.get_str("bricks"), Some(" w3:/b/c "));
        let numbers = ["replica-count", "count", "force"].map(|key| dict.get_i64(key));
        assert_eq!(numbers, [Some(3), Some(1), Some(1)]);
        let remove = remove(&words("v replica 2 w3:/b w4:/b force")).unwrap();
        let dict = remove.to_dict();
        assert_eq!(
            (dict.get_str("brick1"), dict.get_str("brick2")),
            (Some("w3:/b"), Some("w4:/b"))
        );
        let numbers = ["replica-count", "count", "command"].map(|key| dict.get_i64(key));
        assert_eq!(numbers, [Some(2), Some(2), Some(5)]);
        let reset = reset(&words("v w1:/a w1:/a commit force")).unwrap();
        let dict = reset.to_dict();
        assert_eq!(dict.get_str("operation"), Some("GF_RESET_OP_COMMIT_FORCE"));
        assert_eq!(
            (dict.get_str("src-brick"), dict.get_str("dst-brick")),
            (Some("w1:/a"), Some("w1:/a"))
        );
    }

    #[test]
    fn complaints_are_glusters() {
        assert_eq!(
            message(add(&words("v replica 1 w1:/a"))),
            "replica count should be greater than 1"
        );
        assert_eq!(message(add(&words("v"))), "");
        assert_eq!(message(remove(&words("v replica 2 force"))), "No bricks specified");
        assert_eq!(
            message(remove(&words("v w1:/a w1:/a force"))),
            "Duplicate bricks found w1:/a"
        );
        assert_eq!(
            message(remove(&words("v w1 force"))),
            "wrong brick type: w1, use <HOSTNAME>:<export-dir-abs-path>"
        );
        assert!(message(replace(&words("v w1:/a w1:/b commit now"))).starts_with("Invalid option 'commit' 'now' for"));
        assert!(message(reset(&words("v w1:/a stop"))).starts_with("Invalid option 'stop' for reset-brick."));
    }

    #[test]
    fn answers_are_glusters() {
        let add = add(&words("v replica 3 w3:/b")).unwrap();
        assert_eq!(
            add.answer(&reply(0, ""), false),
            Answer::out("volume add-brick: success\n")
        );
        assert_eq!(
            add.answer(&reply(-1, "no"), false),
            Answer::err("volume add-brick: failed: no\n")
        );
        let remove = remove(&words("v replica 2 w3:/b force")).unwrap();
        let done = Answer::out("volume remove-brick commit force: success\n");
        assert_eq!(remove.answer(&reply(0, ""), false), done);
        let xml = remove.answer(&reply(0, ""), true).stdout;
        assert!(
            xml.contains("<opErrstr>Remove Brick commit force successful</opErrstr>\n  <volRemoveBrick/>"),
            "{xml}"
        );
        let replace = replace(&words("v w1:/a w1:/b commit force")).unwrap();
        assert_eq!(
            replace.answer(&reply(0, ""), false),
            Answer::out("volume replace-brick: success: replace-brick commit force operation successful\n")
        );
        let reset = reset(&words("v w1:/a start")).unwrap();
        assert_eq!(
            reset.answer(&reply(0, ""), false),
            Answer::out("volume reset-brick: success: reset-brick start operation successful\n")
        );
        assert_eq!(
            reset.answer(&reply(-1, ""), false),
            Answer::err("volume reset-brick: failed: reset-brick start operation failed\n")
        );
    }
}
