terraform {
  required_version = ">= 1.6"

  # No backend here: cdflow adds it from the account scheme. Commit the lock file that `terraform providers lock` writes.
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}

# cdflow provides region and credentials for the environment's account.
provider "aws" {
  default_tags {
    tags = {
      team        = var.release["team"]
      component   = var.release["component"]
      environment = var.env
    }
  }
}

locals {
  name = "${var.name_prefix}-${var.release["component"]}-${var.env}"
}

resource "aws_s3_bucket" "uploads" {
  bucket = local.name
}

resource "aws_s3_bucket_public_access_block" "uploads" {
  bucket                  = aws_s3_bucket.uploads.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_versioning" "uploads" {
  bucket = aws_s3_bucket.uploads.id

  versioning_configuration {
    status = var.versioning ? "Enabled" : "Suspended"
  }
}

# Other components find the bucket by this name.
resource "aws_ssm_parameter" "bucket" {
  name  = "/${var.release["team"]}/${var.env}/${var.release["component"]}/bucket"
  type  = "String"
  value = aws_s3_bucket.uploads.id
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "read" {
  statement {
    actions   = ["s3:GetObject"]
    resources = ["${aws_s3_bucket.uploads.arn}/*"]
  }
}

resource "aws_iam_role" "reader" {
  name               = "${local.name}-reader"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

resource "aws_iam_role_policy" "read" {
  name   = "read-uploads"
  role   = aws_iam_role.reader.id
  policy = data.aws_iam_policy_document.read.json
}
