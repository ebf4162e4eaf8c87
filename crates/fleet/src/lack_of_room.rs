//! A drop for which a directory has too little space.

use std::fmt;

use durable_fs::Space;

/// The space that a drop needs, and the space that there is. The display is the reason for which the drop is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LackOfRoom {
    /// The directory, as the reason names it: `inbound`, `targets`.
    pub directory: &'static str,
    /// The space that the drop needs, file system blocks included.
    pub needed: Space,
    /// The free space of the mount, as `df` shows it.
    pub free: Space,
    /// The part of it that the drop may use. The rest is kept for metadata and for the older drops of the batch.
    pub usable: Space,
}

impl fmt::Display for LackOfRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { directory, needed, free, usable } = self;
        let lacks_bytes = needed.bytes > usable.bytes;
        let lacks_inodes = needed.inodes > usable.inodes;
        let kept = "are kept for metadata and older drops";
        let and = if lacks_bytes && lacks_inodes { " and " } else { "" };
        write!(f, "it needs ")?;
        if lacks_bytes {
            write!(f, "{}", human_bytes(needed.bytes))?;
        }
        f.write_str(and)?;
        if lacks_inodes {
            write!(f, "{} inodes", needed.inodes)?;
        }
        write!(f, " in the {directory} directory, where ")?;
        if lacks_bytes {
            let reserved = free.bytes.saturating_sub(usable.bytes);
            write!(f, "{} are free, of which {} {kept}", human_bytes(free.bytes), human_bytes(reserved))?;
        }
        f.write_str(and)?;
        if lacks_inodes {
            let reserved = free.inodes.saturating_sub(usable.inodes);
            write!(f, "{} inodes are free, of which {reserved} {kept}", free.inodes)?;
        }
        Ok(())
    }
}

/// A number of bytes in the largest binary unit that it fills: `512 bytes`, `2.0 MiB`. Truncated, never rounded up.
#[must_use]
pub fn human_bytes(bytes: u64) -> String {
    for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
        let whole = bytes >> shift;
        if whole > 0 {
            let tenth = (((bytes - (whole << shift)) >> (shift - 10)) * 10) >> 10;
            return format!("{whole}.{tenth} {unit}");
        }
    }
    format!("{bytes} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_in_the_largest_unit_that_they_fill() {
        let shown =
            [0, 1023, 1024, 2_008_192, (2 << 20) + (1 << 19), (1 << 30) - 1, 5 << 40, u64::MAX].map(human_bytes);
        let wanted =
            ["0 bytes", "1023 bytes", "1.0 KiB", "1.9 MiB", "2.5 MiB", "1023.9 MiB", "5.0 TiB", "16777215.9 TiB"];
        assert_eq!(shown, wanted);
    }

    #[test]
    fn the_free_space_is_that_of_df_and_the_part_that_is_kept_is_named() {
        let space = |bytes, inodes| Space { bytes, inodes };
        let mut lack = LackOfRoom {
            directory: "targets",
            needed: space(5 << 20, 10),
            free: space(2 << 20, 1000),
            usable: space(0, 1000),
        };
        let bytes = "it needs 5.0 MiB in the targets directory, where 2.0 MiB are free, of which 2.0 MiB are kept for \
                     metadata and older drops";
        assert_eq!(lack.to_string(), bytes);
        lack.usable = space(6 << 20, 4);
        let inodes = "it needs 10 inodes in the targets directory, where 1000 inodes are free, of which 996 are kept for \
                      metadata and older drops";
        assert_eq!(lack.to_string(), inodes);
    }
}
