# The roles that cdflow assumes in the release account, with the actions that cdflow and Terraform's S3 backend request.

locals {
  arns = { for name, bucket in aws_s3_bucket.this : name => bucket.arn }

  push_images = [
    "ecr:CreateRepository",
    "ecr:DescribeRepositories",
    "ecr:GetRepositoryPolicy",
    "ecr:SetRepositoryPolicy",
    "ecr:GetLifecyclePolicy",
    "ecr:PutLifecyclePolicy",
    "ecr:DescribeImages",
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:GetDownloadUrlForLayer",
    "ecr:InitiateLayerUpload",
    "ecr:UploadLayerPart",
    "ecr:CompleteLayerUpload",
    "ecr:PutImage",
  ]
}

data "aws_iam_policy_document" "release_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "AWS"
      identifiers = concat([for name, entry in local.entries : aws_iam_role.github[name].arn if entry.releases], var.people)
    }
  }
}

data "aws_iam_policy_document" "release_plan_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "AWS"
      identifiers = concat([for role in aws_iam_role.github : role.arn], var.people)
    }
  }
}

# Reads everything, and writes nothing that an environment could use.
data "aws_iam_policy_document" "release_plan" {
  # Without it, S3 reports a missing object as forbidden.
  statement {
    sid       = "List"
    actions   = ["s3:ListBucket"]
    resources = [local.arns.releases, local.arns.lambda, local.arns.state]
  }

  statement {
    sid       = "Read"
    actions   = ["s3:GetObject"]
    resources = ["${local.arns.releases}/*", "${local.arns.lambda}/*", "${local.arns.state}/*"]
  }

  statement {
    sid       = "LockStates"
    actions   = ["s3:PutObject", "s3:DeleteObject"]
    resources = ["${local.arns.state}/*.tflock"]
  }

  statement {
    sid       = "ReleasesOfPullRequests"
    actions   = ["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
    resources = ["${local.arns.releases}/*-pr-*.zip", "${local.arns.lambda}/*-pr-*.zip"]
  }

  statement {
    sid       = "RecordsOfPlansAndSources"
    actions   = ["s3:PutObject"]
    resources = ["${local.arns.releases}/*/reviews/*", "${local.arns.releases}/*/built/*"]
  }

  statement {
    sid       = "UploadsThatAKilledRunLeft"
    actions   = ["s3:ListBucketMultipartUploads"]
    resources = [local.arns.releases, local.arns.lambda]
  }

  dynamic "statement" {
    for_each = var.images ? [true] : []

    content {
      sid       = "LogInToRegistry"
      actions   = ["ecr:GetAuthorizationToken"]
      resources = ["*"]
    }
  }

  dynamic "statement" {
    for_each = var.images ? [true] : []

    content {
      sid       = "Images"
      actions   = local.push_images
      resources = ["arn:${var.partition}:ecr:*:${var.accounts.release}:repository/*"]
    }
  }
}

# What the role for plans may do, and everything that a deploy writes.
data "aws_iam_policy_document" "release" {
  source_policy_documents = [data.aws_iam_policy_document.release_plan.json]

  # The ledger and releases are never deleted.
  statement {
    sid       = "ReleasesAndLedger"
    actions   = ["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
    resources = ["${local.arns.releases}/*", "${local.arns.lambda}/*"]
  }

  statement {
    sid       = "States"
    actions   = ["s3:PutObject", "s3:DeleteObject"]
    resources = ["${local.arns.state}/*"]
  }

  dynamic "statement" {
    for_each = var.prune ? [true] : []

    content {
      sid       = "Prune"
      actions   = ["s3:DeleteObject"]
      resources = ["${local.arns.releases}/*.zip", "${local.arns.releases}/*/reviews/*.json", "${local.arns.releases}/*/reviews/*.plan.age", "${local.arns.lambda}/*.zip"]
    }
  }

  dynamic "statement" {
    for_each = var.prune && var.images ? [true] : []

    content {
      sid       = "PruneImages"
      actions   = ["ecr:BatchDeleteImage"]
      resources = ["arn:${var.partition}:ecr:*:${var.accounts.release}:repository/*"]
    }
  }
}

resource "aws_iam_role" "release" {
  name                 = "${var.prefix}-release"
  description          = "Releases, the ledger, and Terraform's states"
  assume_role_policy   = data.aws_iam_policy_document.release_trust.json
  max_session_duration = 3600
}

resource "aws_iam_role_policy" "release" {
  name   = "cdflow"
  role   = aws_iam_role.release.name
  policy = data.aws_iam_policy_document.release.json
}

resource "aws_iam_role" "release_plan" {
  name                 = "${var.prefix}-release-plan"
  description          = "Plans, and releases of pull requests"
  assume_role_policy   = data.aws_iam_policy_document.release_plan_trust.json
  max_session_duration = 3600
}

resource "aws_iam_role_policy" "release_plan" {
  name   = "cdflow"
  role   = aws_iam_role.release_plan.name
  policy = data.aws_iam_policy_document.release_plan.json
}
