//! The regions of AWS: which exist, and which setting names the region of a call.

use crate::base::spelling::nearest;

/// The regions of all partitions. AWS adds one or two a year, so another name is only suspect.
const KNOWN: [&str; 46] = [
    "af-south-1",
    "ap-east-1",
    "ap-east-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "ca-central-1",
    "ca-west-1",
    "cn-north-1",
    "cn-northwest-1",
    "eu-central-1",
    "eu-central-2",
    "eu-isoe-west-1",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eusc-de-east-1",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-gov-east-1",
    "us-gov-west-1",
    "us-iso-east-1",
    "us-iso-west-1",
    "us-isob-east-1",
    "us-isob-west-1",
    "us-isof-east-1",
    "us-isof-south-1",
    "us-west-1",
    "us-west-2",
];

/// A region, and the setting that names it, such as `default-region` of a file.
#[derive(Clone, Debug)]
pub(crate) struct NamedRegion {
    pub(crate) name: String,
    pub(crate) from: String,
}

pub(super) fn is_known(region: &str) -> bool {
    KNOWN.contains(&region)
}

/// Returns the unknown region in the host of a URL, such as `eu-west-9` of
/// `https://sts.eu-west-9.amazonaws.com/`.
pub(super) fn unknown_in(url: &str) -> Option<&str> {
    let host = url.split('/').nth(2)?.split(':').next()?;
    let host = host.strip_suffix(".cn").unwrap_or(host);
    let mut labels = host.strip_suffix(".amazonaws.com")?.split('.');
    labels.next_back().filter(|label| !is_known(label) && label.contains('-'))
}

/// Returns the fix for a region whose servers do not exist. `from` is the setting that names it.
pub(super) fn fix(region: &str, from: Option<&str>) -> String {
    let place = from.unwrap_or("the region in the account scheme");
    let meant = nearest(region, KNOWN).map(|near| format!("; did you mean `{near}`?"));
    format!(
        "correct {place}: `{region}` is not a region that this version of cdflow knows{}",
        meant.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_region_in_a_url() {
        for (url, region) in [
            ("https://sts.eu-west-9.amazonaws.com/", Some("eu-west-9")),
            ("https://b.s3.eu-wset-1.amazonaws.com/k", Some("eu-wset-1")),
            ("https://sts.cn-east-9.amazonaws.com.cn/", Some("cn-east-9")),
            ("https://sts.eu-west-1.amazonaws.com/", None),
            ("https://sts.amazonaws.com/", None),
            ("http://127.0.0.1:5000/eu-west-9", None),
            ("https://sts.eu-west-9.example.com/", None),
        ] {
            assert_eq!(unknown_in(url), region, "{url}");
        }
    }

    #[test]
    fn a_misspelled_region_has_a_neighbour() {
        assert_eq!(
            fix("eu-wset-1", Some("`default-region` of scheme.json")),
            "correct `default-region` of scheme.json: `eu-wset-1` is not a region that this \
             version of cdflow knows; did you mean `eu-west-1`?"
        );
        assert!(fix("nowhere", None).ends_with("that this version of cdflow knows"));
    }
}
