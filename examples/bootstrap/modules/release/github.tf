# The roles that workflows start with. Each trusts exact subjects, so that a job gets only what it is for. The workflow
# names the role by what the job is for: `${{ vars.CDFLOW_ROLE_PREFIX }}-live`.

locals {
  github = "${var.prefix}-github"

  # A job with `environment: live` deploys there, after the approvals that GitHub asks for.
  environments = {
    for name, alias in var.environments : name => {
      subjects   = [for repository in var.repositories : "repo:${repository}:environment:${name}"]
      releases   = true
      deploys_to = [alias]
      plans_in   = [alias]
    }
  }

  pull_request_subjects = [for repository in var.repositories : "repo:${repository}:pull_request"]

  release_subjects = flatten([for repository in var.repositories : [for ref in var.release_refs : "repo:${repository}:ref:${ref}"]])

  jobs = {
    release = {
      subjects   = local.release_subjects
      releases   = true
      deploys_to = []
      plans_in   = []
    }
    # A command in a comment starts a run on the default branch. Its jobs with code of the pull request have the environment
    # pull-request, so that they do not have the subject of the branch.
    pull-request = {
      subjects   = concat(local.pull_request_subjects, [for repository in var.repositories : "repo:${repository}:environment:pull-request"])
      releases   = false
      deploys_to = []
      plans_in   = keys(var.plan_roles)
    }
  }

  # On a schedule, `preview reap` runs on a branch.
  previews = var.preview_alias == null ? {} : {
    preview = {
      subjects   = concat(local.release_subjects, local.pull_request_subjects)
      releases   = true
      deploys_to = [var.preview_alias]
      plans_in   = [var.preview_alias]
    }
  }

  entries           = merge(local.environments, local.jobs, local.previews)
  oidc_provider_arn = var.oidc_provider_arn == null ? aws_iam_openid_connect_provider.github[0].arn : var.oidc_provider_arn
}

resource "aws_iam_openid_connect_provider" "github" {
  count = var.oidc_provider_arn == null ? 1 : 0

  url            = "https://${var.oidc_issuer}"
  client_id_list = ["sts.amazonaws.com"]
}

data "aws_iam_policy_document" "github_trust" {
  for_each = local.entries

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = [local.oidc_provider_arn]
    }

    condition {
      test     = "StringEquals"
      variable = "${var.oidc_issuer}:aud"
      values   = ["sts.amazonaws.com"]
    }

    # Only a tag in `release_refs` can have a wildcard.
    condition {
      test     = anytrue([for subject in each.value.subjects : strcontains(subject, "*")]) ? "StringLike" : "StringEquals"
      variable = "${var.oidc_issuer}:sub"
      values   = each.value.subjects
    }
  }
}

data "aws_iam_policy_document" "github" {
  for_each = local.entries

  statement {
    sid       = "AccountScheme"
    actions   = ["s3:GetObject"]
    resources = ["${aws_s3_bucket.this["scheme"].arn}/*"]
  }

  # Without it, S3 reports a missing object as forbidden.
  statement {
    sid       = "AccountSchemeMissing"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.this["scheme"].arn]
  }

  statement {
    sid     = "Roles"
    actions = ["sts:AssumeRole"]
    resources = concat(
      each.value.releases ? [aws_iam_role.release.arn] : [],
      [aws_iam_role.release_plan.arn],
      [for alias in each.value.deploys_to : "arn:${var.partition}:iam::${var.accounts[alias]}:role/${var.deploy_roles[alias]}"],
      [for alias in each.value.plans_in : "arn:${var.partition}:iam::${var.accounts[alias]}:role/${var.plan_roles[alias]}"],
    )
  }
}

resource "aws_iam_role" "github" {
  for_each = local.entries

  name                 = "${local.github}-${each.key}"
  description          = "The first identity of cdflow in jobs of GitHub Actions"
  assume_role_policy   = data.aws_iam_policy_document.github_trust[each.key].json
  max_session_duration = 3600
}

resource "aws_iam_role_policy" "github" {
  for_each = local.entries

  name   = "cdflow"
  role   = aws_iam_role.github[each.key].name
  policy = data.aws_iam_policy_document.github[each.key].json
}
