//! How long applications stall when something happens to the six servers: a load that records every operation, the rows
//! of faults, and the table that shows ours beside the C implementation.
//!
//! The scenarios run the same rows and judge errors and contents; times are printed, never judged.

pub mod load;
pub mod log;
pub mod model;
pub mod rows;
pub mod stage;
pub mod table;

use crate::lab::error::{Result, fail};
use crate::lab::{Flavor, SixServers, binaries};
use rows::Row;
use stage::Pace;
use std::path::Path;

/// Measures rows one after the other on clusters of each flavour and prints each line as soon as it is known. Every
/// single operation goes to `operations`, a file that is made anew.
///
/// # Errors
/// When a cluster or the file cannot be made. What a row shows, good or bad, is in the table.
pub fn measure(flavors: &[Flavor], rows: &[&'static Row], operations: Option<&Path>) -> Result<()> {
    let mut operations = operations.map(log::Log::create).transpose()?;
    println!("{}", table::head());
    for flavor in flavors {
        if *flavor == Flavor::C && !binaries::c_installed() {
            return Err(fail("GlusterFS's C implementation is not installed"));
        }
        let mut six = None;
        for row in rows {
            let mut cluster = match six.take() {
                Some(cluster) => cluster,
                None => SixServers::start(*flavor)?,
            };
            match stage::run(&mut cluster, row, &Pace::measured(*flavor)) {
                Ok(measured) => {
                    table::lines(&measured).iter().for_each(|line| println!("{line}"));
                    if let Some(log) = &mut operations {
                        log.add(&measured)?;
                    }
                    // What a row has broken must not spoil the next.
                    six = measured.usable.then_some(cluster);
                }
                Err(error) => println!("{:<18} could not be done: {error}", row.name),
            }
        }
        if let Some(cluster) = six {
            cluster.finish()?;
        }
    }
    Ok(())
}
