//! Targeted fields (RFC 9213): a response.

pub fn run(data: &[u8]) {
    let [_response] = super::sections::<1>(data);
    // The reader of RFC 9213's fields goes here.
}
