//! Reads as much of a PNG as tells whether anything is on it.

use std::{collections::HashSet, io::Read as _};

use flate2::read::ZlibDecoder;

pub struct Picture {
    pub width: u32,
    pub height: u32,
    /// How many different ones there are.
    pub colours: usize,
}

/// Of eight bits a channel, without interlacing, as browsers write them.
pub fn read(bytes: &[u8]) -> Result<Picture, String> {
    let mut rest = bytes.strip_prefix(b"\x89PNG\r\n\x1a\n").ok_or("no signature")?;
    let (mut header, mut packed, mut ended) = (None, Vec::new(), false);
    while !ended {
        let (start, data) = rest.split_at_checked(8).ok_or("ends early")?;
        let length = u32::from_be_bytes(start[..4].try_into().unwrap()) as usize;
        let (data, after) = data.split_at_checked(length).ok_or("ends early")?;
        match &start[4..] {
            b"IHDR" => header = Some(data),
            b"IDAT" => packed.extend_from_slice(data),
            b"IEND" => ended = true,
            _ => {}
        }
        rest = after.get(4..).ok_or("ends early")?;
    }
    let header: &[u8; 13] = header.and_then(|header| header.try_into().ok()).ok_or("no header")?;
    let number = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().unwrap());
    let (width, height) = (number(0), number(4));
    let size = match header[8..] {
        [8, 2, 0, 0, 0] => 3,
        [8, 6, 0, 0, 0] => 4,
        _ => return Err(format!("an unexpected format: {header:?}")),
    };
    let mut filtered = Vec::new();
    ZlibDecoder::new(packed.as_slice()).read_to_end(&mut filtered).map_err(|error| error.to_string())?;
    let line = width as usize * size;
    if line == 0 || filtered.len() != (line + 1) * height as usize {
        return Err("more or fewer lines than it says".to_owned());
    }
    let mut colours = HashSet::new();
    let mut above = vec![0; line];
    for packed in filtered.chunks_exact(line + 1) {
        let mut here = packed[1..].to_vec();
        for at in 0..line {
            let left = if at < size { 0 } else { here[at - size] };
            let corner = if at < size { 0 } else { above[at - size] };
            let predicted = match packed[0] {
                0 => 0,
                1 => left,
                2 => above[at],
                3 => u16::midpoint(left.into(), above[at].into()) as u8,
                4 => paeth(left, above[at], corner),
                _ => return Err("an unknown filter".to_owned()),
            };
            here[at] = here[at].wrapping_add(predicted);
        }
        colours.extend(here.chunks_exact(size).map(<[u8]>::to_vec));
        above = here;
    }
    Ok(Picture { width, height, colours: colours.len() })
}

fn paeth(left: u8, above: u8, corner: u8) -> u8 {
    let [l, a, c] = [left, above, corner].map(i16::from);
    let near = |value: i16| (l + a - c - value).abs();
    if near(l) <= near(a) && near(l) <= near(c) {
        left
    } else if near(a) <= near(c) {
        above
    } else {
        corner
    }
}

#[test]
fn colours_are_counted() {
    // Two by two: red, red; green, blue, with the filters "left" and "above".
    let lines = [1, 255, 0, 0, 0, 0, 0, 2, 1, 255, 0, 1, 0, 255];
    let mut packed = flate2::read::ZlibEncoder::new(lines.as_slice(), flate2::Compression::default());
    let mut data = Vec::new();
    packed.read_to_end(&mut data).unwrap();
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in
        [(b"IHDR", [0, 0, 0, 2, 0, 0, 0, 2, 8, 2, 0, 0, 0].to_vec()), (b"IDAT", data), (b"IEND", vec![])]
    {
        png.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
        png.extend(kind);
        png.extend(data);
        png.extend([0; 4]);
    }
    let picture = read(&png).unwrap();
    assert_eq!((picture.width, picture.height, picture.colours), (2, 2, 3));
    assert!(read(&png[..png.len() - 5]).is_err());
}
