//! `volume heal VOL statistics`: the crawls that the self-heal daemons remember (brick-and-replicate.md E.9).

use std::fmt::Write as _;

use datapath::wire::OldDict;

use super::info::count;

const RULE: &str = "------------------------------------------------";

/// The tables after the headline, brick after brick. Keys of a crawl are `statistics_WHAT-BRICK-CRAWL`.
pub(super) fn text(dict: &OldDict) -> String {
    let mut out = String::new();
    for brick in 0..count(dict, "count") {
        let host = dict.get_str(&format!("{brick}-hostname")).unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{RULE}\n\nCrawl statistics for brick no {brick}\nHostname of brick {host}"
        );
        for crawl in 0..count(dict, &format!("statistics-{brick}-count")) {
            out.push_str(&one(dict, brick, crawl));
        }
    }
    out
}

fn one(dict: &OldDict, brick: i64, crawl: i64) -> String {
    let value = |what: &str| {
        dict.get_str(&format!("statistics_{what}-{brick}-{crawl}"))
            .unwrap_or_default()
            .trim_end()
    };
    let end = match value("inprogress") {
        "1" => "Crawl is in progress".to_owned(),
        _ => format!("Ending time of crawl: {}", value("end_time")),
    };
    format!(
        "\nStarting time of crawl: {}\n\n{end}\n\nType of crawl: {}\nNo. of entries healed: {}\nNo. of entries in \
         split-brain: {}\nNo. of heal failed entries: {}\n",
        value("strt_time"),
        value("crawl_type"),
        value("healed_cnt"),
        value("sb_cnt"),
        value("heal_failed_cnt")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crawl_reads_like_glusters() {
        let mut dict = OldDict::new()
            .with_int("count", 1)
            .with_str("0-hostname", "w1")
            .with_int("statistics-0-count", 1);
        for (what, value) in [
            ("strt_time", "Sun Nov 22 20:51:58 2026\n"),
            ("end_time", "Sun Nov 22 20:51:59 2026\n"),
            ("crawl_type", "INDEX"),
            ("healed_cnt", "2"),
            ("sb_cnt", "1"),
            ("heal_failed_cnt", "0"),
            ("inprogress", "0"),
        ] {
            dict.set_str(format!("statistics_{what}-0-0"), value);
        }
        assert_eq!(
            text(&dict),
            "------------------------------------------------\n\nCrawl statistics for brick no 0\nHostname of brick \
             w1\n\nStarting time of crawl: Sun Nov 22 20:51:58 2026\n\nEnding time of crawl: Sun Nov 22 20:51:59 \
             2026\n\nType of crawl: INDEX\nNo. of entries healed: 2\nNo. of entries in split-brain: 1\nNo. of heal \
             failed entries: 0\n"
        );
    }
}
