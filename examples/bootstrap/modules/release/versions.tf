# Four buckets, the roles of the release account, and the trust in GitHub.

terraform {
  required_providers {
    aws = {
      source = "hashicorp/aws"
    }
  }
}
