//! The sandbox's story on a lab host: the README's main promise, as a test.

use super::common::{self, Setup};
use super::{Need, Scenario};
use crate::lab::error::Result;
use crate::story;

/// See the module.
pub const SCENARIO: Scenario = Scenario {
    name: "story",
    about: "the sandbox's story: write, kill -9 a brick meanwhile, read on, heal, six equal bricks",
    needs: &[Need::Ours],
    seconds: 240,
    run,
};

fn run() -> Result<()> {
    let setup = Setup::new(common::flavor())?;
    story::tell(&setup.cluster, &setup.mount, None)?;
    setup.finish()
}
