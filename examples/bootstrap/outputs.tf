output "account_scheme_url" {
  value       = "s3://${aws_s3_object.account_scheme.bucket}/${aws_s3_object.account_scheme.key}"
  description = "For `account-scheme-url` in each cdflow.yml, and for `cdflow init --account-scheme-url`."
}

output "repository_variables" {
  value = {
    CDFLOW_ROLE_PREFIX = module.release.github_role_prefix
    CDFLOW_REGION      = var.region
  }
  description = "The variables that each repository needs. Workflows add to the prefix what the job is for, such as an environment."
}

output "variables" {
  value       = <<-EOT
    CDFLOW_ROLE_PREFIX=${module.release.github_role_prefix}
    CDFLOW_REGION=${var.region}
  EOT
  description = "The same as a file for `gh variable set --env-file`."
}

output "github_role_arns" {
  value       = module.release.github_role_arns
  description = "The roles that workflows start with, by what the job is for."
}

output "role_arns" {
  value       = merge(module.release.role_arns, { dev = module.dev.role_arns, prod = module.prod.role_arns })
  description = "The roles that cdflow assumes, by account."
}

output "buckets" {
  value       = module.release.buckets
  description = "The names of the buckets."
}
