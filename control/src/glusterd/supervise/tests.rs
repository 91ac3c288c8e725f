//! Supervision of a small script that becomes a daemon, writes its pid file and listens on nothing.

use std::cell::RefCell;
use std::os::unix::fs::PermissionsExt;

use super::*;

/// A directory with a fake daemon; removed, and the daemon ended, when the test ends.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(pid) = process::running_pid(&self.0.join("pid")) {
            let _ = process::kill(pid, libc::SIGKILL);
        }
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Scratch {
    /// `before` is what the script does first; then it starts a sleeper whose arguments hold the pid file's name.
    fn new(name: &str, before: &str) -> Self {
        let path = std::env::temp_dir().join(format!("glusterd-supervise-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        let script = format!(
            "#!/bin/bash\n{before}\nsetsid bash -c 'while :; do read -t 1 < <(sleep 9); done' sleeper \"$1\" </dev/null \
             >/dev/null 2>&1 &\necho $! > \"$1\"\n\
             # Between fork and exec it has another command line, or none.\n\
             until tr '\\0' ' ' < /proc/$!/cmdline | grep -q '^bash -c'; do sleep 0.01; done\n"
        );
        std::fs::write(path.join("daemon"), script).unwrap();
        std::fs::set_permissions(path.join("daemon"), std::fs::Permissions::from_mode(0o755)).unwrap();
        Self(path)
    }

    fn spec(&self, restart_delay: Option<Duration>, events: Rc<RefCell<Vec<ProcessEvent>>>) -> ProcessSpec {
        let pid_file = self.0.join("pid").to_string_lossy().into_owned();
        let next_port = std::cell::Cell::new(100);
        ProcessSpec {
            label: "test daemon".into(),
            program: self.0.join("daemon"),
            arguments: Box::new(move |port| vec![pid_file.clone(), port.to_string()]),
            pid_file: self.0.join("pid"),
            socket: self.0.join("socket"),
            pick_port: Some(Box::new(move || {
                next_port.set(next_port.get() + 1);
                Ok(next_port.get())
            })),
            restart_delay,
            kill_after: Some(Duration::from_millis(500)),
            events: Rc::new(move |event| events.borrow_mut().push(event)),
        }
    }
}

async fn wait_for(what: impl Fn() -> bool) {
    for _ in 0..400 {
        if what() {
            return;
        }
        rt::sleep(Duration::from_millis(20)).await;
    }
    panic!("did not happen within 8 s");
}

#[test]
fn starts_restarts_and_stops() {
    let scratch = Scratch::new("restart", "");
    let events = Rc::new(RefCell::new(Vec::new()));
    rt::block_on(async {
        let process = Supervised::start(scratch.spec(Some(Duration::from_millis(100)), events.clone()));
        process.handle().ensure_started().await.unwrap();
        let first = process.pid().unwrap();
        process::kill(first, libc::SIGKILL).unwrap();
        wait_for(|| process.pid().is_some_and(|pid| pid != first)).await;
        let second = process.pid().unwrap();
        process.stop().await;
        assert!(!process::is_running(second));
        assert!(!scratch.0.join("pid").exists());
    })
    .unwrap();
    let seen = events.borrow().clone();
    use ProcessEvent::{Gone, Started};
    assert_eq!(seen, [Started(101), Gone, Started(102), Gone]);
}

#[test]
fn a_running_process_is_adopted_and_survives_its_supervisor() {
    let scratch = Scratch::new("adopt", "");
    let events = Rc::new(RefCell::new(Vec::new()));
    let run = |events: &Rc<RefCell<Vec<ProcessEvent>>>| {
        let spec = scratch.spec(None, events.clone());
        rt::block_on(async {
            let process = Supervised::start(spec);
            process.handle().ensure_started().await.unwrap();
            process.pid().unwrap()
        })
        .unwrap()
    };
    let first = run(&events);
    assert!(process::is_running(first));
    assert_eq!(run(&events), first);
    assert_eq!(*events.borrow(), [ProcessEvent::Started(101)]);
}

#[test]
fn another_port_is_tried_and_other_failures_are_told() {
    let busy = Scratch::new("busy", "[ $2 -ge 103 ] || exit 98");
    let events = Rc::new(RefCell::new(Vec::new()));
    rt::block_on(async {
        let process = Supervised::start(busy.spec(None, events.clone()));
        process.handle().ensure_started().await.unwrap();
        process.stop().await;
    })
    .unwrap();
    assert_eq!(*events.borrow(), [ProcessEvent::Started(103), ProcessEvent::Gone]);

    let broken = Scratch::new("broken", "exit 3");
    rt::block_on(async {
        let process = Supervised::start(broken.spec(None, Rc::default()));
        let why = process.handle().ensure_started().await.unwrap_err();
        assert!(why.ends_with("ended with exit status 3"), "{why}");
        // Without a delay it stays down until somebody asks again.
        let why = process.handle().ensure_started().await.unwrap_err();
        assert!(why.ends_with("ended with exit status 3"), "{why}");
    })
    .unwrap();
}

#[test]
fn a_stop_during_the_start_leaves_no_process() {
    let scratch = Scratch::new("early", "sleep 0.3");
    rt::block_on(async {
        let process = Supervised::start(scratch.spec(Some(Duration::from_millis(10)), Rc::default()));
        rt::sleep(Duration::from_millis(50)).await;
        process.stop().await;
        rt::sleep(Duration::from_millis(500)).await;
        assert_eq!(process::running_pid(&scratch.0.join("pid")), None);
    })
    .unwrap();
}

#[test]
fn a_foreign_process_with_the_same_pid_is_not_ours() {
    let scratch = Scratch::new("foreign", "");
    // The test's own pid runs, but not with this pid file as an argument.
    std::fs::write(scratch.0.join("pid"), std::process::id().to_string()).unwrap();
    assert_eq!(launch::running(&scratch.spec(None, Rc::default())), None);
    std::fs::remove_file(scratch.0.join("pid")).unwrap();
}
