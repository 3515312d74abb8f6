output "buckets" {
  value       = { for name, bucket in aws_s3_bucket.this : name => bucket.id }
  description = "The names of the buckets: scheme, releases, lambda and state."
}

output "lambda_bucket_arn" {
  value       = aws_s3_bucket.this["lambda"].arn
  description = "The bucket with the zips of Lambda functions."
}

output "plan_keys" {
  value       = aws_kms_key.plans[*].arn
  description = "The key of stored plans; empty without `stored_plans`."
}

output "release_role" {
  value       = aws_iam_role.release.name
  description = "The role for releases, the ledger and Terraform's states."
}

output "release_plan_role" {
  value       = aws_iam_role.release_plan.name
  description = "The role that reads them, and publishes releases of pull requests."
}

output "role_arns" {
  value       = { release = aws_iam_role.release.arn, release_plan = aws_iam_role.release_plan.arn }
  description = "The roles in the release account that cdflow assumes."
}

output "github_role_prefix" {
  value       = "arn:${var.partition}:iam::${var.accounts.release}:role/${local.github}"
  description = "What the ARNs of the roles for GitHub have in common."
}

output "github_role_arns" {
  value       = { for name, role in aws_iam_role.github : name => role.arn }
  description = "The roles that workflows start with, by what the job is for."
}

# A trust policy can only name roles that exist.
output "deployers" {
  value = {
    for alias in keys(var.deploy_roles) :
    alias => concat([for name, entry in local.entries : aws_iam_role.github[name].arn if contains(entry.deploys_to, alias)], var.people)
  }
  description = "Who may deploy, by account."
}

output "planners" {
  value = {
    for alias in keys(var.plan_roles) :
    alias => concat([for name, entry in local.entries : aws_iam_role.github[name].arn if contains(entry.plans_in, alias)], var.people)
  }
  description = "Who may plan, by account."
}
